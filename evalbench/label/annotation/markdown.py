"""Text of a trace made safe to show: Markdown as a few harmless tags, hidden characters visible.

A trace is written by strangers. What leaves here loads nothing, runs nothing and hides nothing.
What a report says of one goes through :func:`escape_text`, where it is no Markdown at all.
"""

import re
from functools import cache

import mistune
import nh3
from mistune.util import safe_entity

TAGS = frozenset(
    "p br hr h1 h2 h3 h4 h5 h6 strong em del code pre blockquote "
    "ul ol li table thead tbody tr th td a".split()
)
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U0001d173-\U0001d17a]"
    # Joiners are how Persian, Hindi and joined pictographs are spelt; beside ASCII they only hide.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
SIGNS = re.compile(r"[!-/:-@\[-`{-~]")
"""All that Markdown or HTML may take for its own."""


def visible(text: str) -> str:
    """Show control, direction and zero-width characters by their code points: ``⟦U+202E⟧``."""
    return HIDDEN.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)


def escape_text(text: object) -> str:
    """Write text of a trace or a person so that Markdown and HTML show it as it is, on one line.

    Character references mean the same to both, and neither takes them for signs of its own.
    """
    line = " ".join(visible(str(text)).split())
    return SIGNS.sub(lambda found: f"&#{ord(found[0])};", line)


class _Renderer(mistune.HTMLRenderer):
    def image(self, text: str, url: str, title: str | None = None) -> str:
        return mistune.escape(f"[image: {url}]")


class _PageRenderer(_Renderer):
    def text(self, text: str) -> str:
        return safe_entity(text)


@cache
def _markdown(*, of_page: bool) -> mistune.Markdown:
    # Raw HTML is shown as the text it is; a chat's single line breaks are meant.
    renderer = (_PageRenderer if of_page else _Renderer)(escape=True)
    return mistune.create_markdown(
        renderer=renderer, hard_wrap=True, plugins=["table", "strikethrough"]
    )


def render_markdown(text: str, *, of_page: bool = False) -> str:
    """Render Markdown of unknown, possibly hostile origin as HTML of :data:`TAGS` alone.

    The only attributes are those of links, which lead to http, https or mailto in a new tab. Images
    are the text ``[image: address]``, HTML in the source is shown as text, and no class or style
    remains. In Markdown ``of_page``, of a report, what :func:`escape_text` wrote is read as the
    characters that it stands for.
    """
    shown = visible(text)
    try:
        html = str(_markdown(of_page=of_page)(shown))
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
