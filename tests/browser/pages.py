"""Write the module of each page into a folder, for eslint and tsc: ``python pages.py FOLDER``.

The vendor's modules stand in them by their types alone.
"""

import sys
from pathlib import Path

from evalbench.widgets.page import read_static, read_vendor
from evalbench.widgets.screens import Adjudicator, Annotator, Browser, ClusterDesk

TYPED = """const NOTHING = /** @type {unknown} */ (null);
const preact = /** @type {typeof import("preact")} */ (NOTHING);
const hooks = /** @type {typeof import("preact/hooks")} */ (NOTHING);
const htm = /** @type {{ bind: (h: Function) => (parts: TemplateStringsArray, ...all) => any }} */ (NOTHING);
"""  # noqa: E501 a type is one line

folder = Path(sys.argv[1])
for widget in (Adjudicator, Annotator, ClusterDesk, Browser):
    own = str(widget._esm).removeprefix(read_vendor())
    typed = TYPED + read_static("component.js") + own
    folder.joinpath(f"{widget.__name__}.js").write_text(typed)
folder.joinpath("page.js").write_text(read_static("page.js"))
