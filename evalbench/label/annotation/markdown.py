"""Text of a trace made safe to show: Markdown as a few harmless tags, hidden characters visible.

A trace is written by strangers. What leaves here loads nothing, runs nothing and hides nothing.
"""

from __future__ import annotations

import re
from functools import cache

import mistune
import nh3

TAGS = frozenset(
    "p br hr h1 h2 h3 h4 h5 h6 strong em del code pre blockquote "
    "ul ol li table thead tbody tr th td a".split()
)
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
    # Joiners are how Persian, Hindi and joined pictographs are spelt; beside ASCII they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def visible(text: str) -> str:
    """Show control, direction and zero-width characters by their code points: ``⟦U+202E⟧``."""
    return HIDDEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)


class _Renderer(mistune.HTMLRenderer):
    def image(self, text: str, url: str, title: str | None = None) -> str:
        return mistune.escape(f"[image: {url}]")


@cache
def _markdown() -> mistune.Markdown:
    # Raw HTML is shown as the text it is; a chat's single line breaks are meant.
    return mistune.create_markdown(
        renderer=_Renderer(escape=True), hard_wrap=True, plugins=["table", "strikethrough"]
    )


def render_markdown(text: str) -> str:
    """Render Markdown of unknown, possibly hostile origin as HTML of :data:`TAGS` alone.

    The only attributes are those of links, which lead to http, https or mailto in a new tab. Images
    are the text ``[image: address]``, HTML in the source is shown as text, and no class or style
    remains.
    """
    shown = visible(text)
    try:
        html = str(_markdown()(shown))
    except RecursionError:  # a nesting that no reader meant
        html = f"<pre>{mistune.escape(shown)}</pre>"
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={"*": set(), "a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",  # it would lead into the notebook server itself
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
