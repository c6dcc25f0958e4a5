"""A widget's page: one module and one style sheet, made of the files in ``static``.

``static/vendor`` holds Preact 11.2.0 (with its hooks) and htm 3.1.1 as the npm registry gives them,
byte for byte.
"""

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
TRANSCRIPT = tuple(
    f"transcript/{name}.js" for name in ("text", "json_tree", "turns", "search", "transcript")
)
"""After the vendor's modules and ``elements.js``; its style is ``transcript/transcript.css``."""
VENDOR = {"preact": "preact.mjs", "hooks": "hooks.mjs", "htm": "htm.mjs"}


def read_static(*names: str) -> str:
    """Join files of ``static``: a widget is one module and one style sheet."""
    return "".join((STATIC / name).read_text("utf-8") for name in names)


def read_vendor() -> str:
    """Join the modules of ``static/vendor``: each becomes a constant that holds what it exports.

    Each keeps a scope of its own, since their names of one letter are the same. ``component.js``
    names what components are written with: ``html``, ``Component``, ``mount``, ``useState``.
    """
    modules = [_enclose(name, read_static(f"vendor/{file}")) for name, file in VENDOR.items()]
    return "".join([*modules, read_static("component.js")])


def _enclose(name: str, module: str) -> str:
    text = re.sub(r"\n//# sourceMappingURL=.*", "", module)
    text = re.sub(
        r'import\{(.*?)\}from"(\w+)";',
        lambda found: f"const{{{_pair(found[1])}}}={found[2]};",
        text,
    )
    text = re.sub(r"export\{(.*?)\};", lambda found: f"return{{{_pair(found[1], -1)}}};", text)
    return f"const {name}=(()=>{{{text.replace('export default ', 'return ')}}})();\n"


def _pair(names: str, order: int = 1) -> str:
    """Write ``a as b`` of an import as ``a:b``; of an export (``order`` -1) as ``b:a``."""
    return ",".join(":".join(each.split(" as ")[::order]) for each in names.split(","))
