"""Text of a trace made safe to show in a report: a few harmless tags, hidden characters visible.

A trace is written by strangers. What leaves here loads nothing, runs nothing and hides nothing.
What a report says of one goes through :func:`escape_text`, where it is no Markdown at all.
"""

import re
from collections.abc import Sequence
from functools import cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

TAGS = frozenset(
    "p br hr h1 h2 h3 h4 h5 h6 strong em s code pre blockquote "
    "ul ol li table thead tbody tr th td a".split()
)
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U0001d173-\U0001d17a]"
    # Joiners are how Persian, Hindi and joined pictographs are spelt; beside ASCII they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
SIGNS = re.compile(r"[!-/:-@\[-`{-~]")  # all that Markdown or HTML may take for its own


def visible(text: str) -> str:
    """Show control, direction and zero-width characters by their code points: ``⟦U+202E⟧``."""
    return HIDDEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)


def escape_text(text: object) -> str:
    """Write text of a trace or a person so that Markdown and HTML show it as it is, on one line.

    Character references mean the same to both, and neither takes them for signs of its own.
    """
    line = " ".join(visible(str(text)).split())
    return SIGNS.sub(lambda found: f"&#{ord(found[0])};", line)


@cache
def _markdown() -> MarkdownIt:
    # Raw HTML is shown as the text it is; single line breaks are meant.
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True})
    markdown.add_render_rule("image", _render_image)
    return markdown.enable(["table", "strikethrough"])


def _render_image(_: object, tokens: Sequence[Token], place: int, *__: object) -> str:
    return escapeHtml(f"[image: {tokens[place].attrGet('src')}]")


def render_markdown(text: str) -> str:
    """Render Markdown of a report, with words of strangers in it, as HTML of :data:`TAGS` alone.

    Links lead to http, https or mailto in a new tab; images are ``[image: address]``, HTML is text.
    """
    html = _markdown().render(visible(text))
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={"*": set(), "a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",  # it would lead into the notebook server itself
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
