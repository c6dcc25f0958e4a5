"""Write the module of each widget into a folder, for eslint to read: ``python pages.py FOLDER``."""

import sys
from pathlib import Path

from evalbench.widgets.adjudicator import Adjudicator
from evalbench.widgets.annotator import Annotator
from evalbench.widgets.browser import Browser
from evalbench.widgets.clusters import ClusterDesk
from evalbench.widgets.page import read_vendor

for widget in (Adjudicator, Annotator, ClusterDesk, Browser):
    own = str(widget._esm).removeprefix(read_vendor())
    vendor = f"/* eslint-disable */\n{read_vendor()}/* eslint-enable */\n"
    Path(sys.argv[1], f"{widget.__name__}.js").write_text(vendor + own)
