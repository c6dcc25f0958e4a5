"""jsonschema, which Altair, nbformat and LiteLLM import too, without its check of IRIs.

For that it would import ``rfc3987_syntax``, which builds a grammar: a second in every kernel.
"""

import sys

CHECK = "rfc3987_syntax"
_unknown = CHECK not in sys.modules
if _unknown:
    sys.modules[CHECK] = None  # type: ignore[assignment]
try:
    import jsonschema as jsonschema
finally:
    if _unknown:
        del sys.modules[CHECK]
