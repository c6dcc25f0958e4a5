"""Markdown as a layout of its own source: what is shown are slices of it, in order.

Between the slices stand marks of Markdown alone. Where anything else would be left out, or comes in
another order, there is no layout, and the text is shown as it was written.
"""

import re
from functools import cache
from itertools import accumulate
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# A tag, then what is in it: layouts, and slices ``[start, stop]`` of the source. ``a`` has its
# address after the tag.
Layout = list[Any]

# What may stand between two slices.
MARKS = re.compile(r"[\s*~#`|:\-\[\]()!<>]*")
ADDRESS = re.compile(r"\]\(\s*<?((?:[^\s<>()]|\([^\s<>()]*\))*)>?\s*\)")
# Their signs are often meant as they are: "> 30 days", a path with backslashes.
WITHOUT = "blockquote reference html_block html_inline lheading escape entity".split()
# A letter or digit of a script that puts spaces between words.
OF_WORDS = re.compile("[^\\W_\u2e80-\U0003ffff]")
# Open brackets that begin no link: to each one the parser looks through the rest of the text.
MOST_BRACKETS = 300
SCHEMES = ("http://", "https://", "mailto:")


def lay_out(text: str) -> Layout | None:
    """Lay out Markdown; None where it has no marks, or more than its marks would be left out.

    Emphasis is by asterisks around whole words: ``120*2 + 75*2`` is left alone, and so is
    ``__init__``. Numbers and bullets of a list are those of the source, an address stands behind
    its link, and an image is its words and its address. Slices count UTF-16 units, as browsers do.

    >>> lay_out("**Yes**, 2*3*4")
    ['div', ['p', ['strong', [2, 5]], [7, 14]]]
    """
    if text.count("[") - text.count("](") > MOST_BRACKETS:
        return None
    try:
        layout = _Reader(text).read()
    except _LostError:
        return None
    return layout if _has_form(layout) else None


class _LostError(Exception):
    """Something of the source would be in no slice."""


class _Reader:
    """Follows the tokens of a text, and finds the words of each in the source."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self._units = _count_units(text) if max(text, default="") > "\uffff" else None

    def read(self) -> Layout:
        root: Layout = ["div"]
        self._follow(_markdown().parse(self.text), root)
        self._pass_marks(len(self.text))
        return root

    def _follow(self, tokens: list[Token], root: Layout) -> None:
        open_ = [root]
        for token in tokens:
            if token.nesting > 0:
                node = self._open(token)
                open_[-1].append(node)
                open_.append(node)
            elif token.nesting < 0:
                open_.pop()
                if token.type == "link_close" and token.info != "auto":
                    self._take_address(open_[-1])
            elif token.type == "inline":
                self._follow(token.children or [], open_[-1])
            else:
                self._add(token, open_[-1])

    def _open(self, token: Token) -> Layout:
        if token.type == "link_open":
            address = str(token.attrs["href"])
            return ["a", address] if address.startswith(SCHEMES) else ["span"]
        if token.type == "list_item_open":
            return ["li", self._take(token.info + token.markup)]
        return [token.tag]

    def _add(self, token: Token, into: Layout) -> None:
        if token.type in ("fence", "code_block"):
            if token.info.strip():
                into.append(["small", self._take(token.info.strip())])
            into.append(["pre", *self._take_lines(token.content)])
        elif token.type == "image":
            self._follow(token.children or [], into)
            self._take_address(into)
        elif token.type in ("softbreak", "hardbreak", "hr"):
            into.append(["hr" if token.type == "hr" else "br"])
        elif token.content:
            words = self._take(token.content)
            into.append(["code", words] if token.type == "code_inline" else words)

    def _take_lines(self, content: str) -> Layout:
        nodes: Layout = []
        for number, line in enumerate(content.removesuffix("\n").split("\n")):
            nodes += [["br"]] if number else []
            nodes += [self._take(line)] if line else []
        return nodes

    def _take_address(self, into: Layout) -> None:
        if not (found := ADDRESS.match(self.text, self.at)):
            raise _LostError
        if found[1]:
            into.append(["small", self._take(found[1])])

    def _take(self, words: str) -> list[int]:
        start = self.text.find(words, self.at)
        if start < 0:
            raise _LostError
        self._pass_marks(start)
        self.at = start + len(words)
        return (
            [start, self.at] if self._units is None else [self._units[n] for n in (start, self.at)]
        )

    def _pass_marks(self, stop: int) -> None:
        if not MARKS.fullmatch(self.text, self.at, stop):
            raise _LostError


def _has_form(layout: Layout) -> bool:
    return any(
        isinstance(each, list) and isinstance(each[0], str) and each[0] != "br"
        and (each[0] != "p" or _has_form(each))
        for each in layout
    )  # fmt: skip


def _count_units(text: str) -> list[int]:
    """Count the UTF-16 units before each character, and before the end."""
    return [0, *accumulate(1 + (letter > "\uffff") for letter in text)]


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(WITHOUT)
    markdown.inline.ruler.before("strikethrough", "within_words", _leave_within_words)
    return markdown


def _leave_within_words(state: StateInline, silent: bool) -> bool:
    """Take asterisks between letters or digits, and underscores, for the characters they are."""
    sign, start, stop = state.src[state.pos], state.pos, state.pos
    while stop < state.posMax and state.src[stop] == sign:
        stop += 1
    inside = start and OF_WORDS.match(state.src, start - 1) and OF_WORDS.match(state.src, stop)
    if sign != "_" and not (sign in "*~" and inside):
        return False
    if not silent:
        state.pending += sign * (stop - start)
    state.pos = stop
    return True
