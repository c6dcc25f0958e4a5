"""Write the module of each widget into a folder, for eslint to read: ``python pages.py FOLDER``."""

import sys
from pathlib import Path

from evalbench.widgets.page import read_vendor
from evalbench.widgets.screens import Adjudicator, Annotator, Browser, ClusterDesk

for widget in (Adjudicator, Annotator, ClusterDesk, Browser):
    own = str(widget._esm).removeprefix(read_vendor())
    vendor = f"/* eslint-disable */\n{read_vendor()}/* eslint-enable */\n"
    Path(sys.argv[1], f"{widget.__name__}.js").write_text(vendor + own)
