"""The documentation's site: `make docs` builds it into build/docs, and a broken link fails it."""

project = "evalbench"
html_title = "evalbench"
extensions = ["myst_parser"]
myst_heading_anchors = 3
suppress_warnings = ["toc.not_included"]  # a page that the index does not list yet
html_theme = "furo"
html_show_copyright = html_show_sphinx = html_copy_source = False
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
