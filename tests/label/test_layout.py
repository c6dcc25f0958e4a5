"""Markdown laid out as slices of its source: nothing is lost but its marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalbench.label.annotation.layout import MARKS, lay_out


def read(text):
    """Give the tags of a layout, and the words that it shows of a text, with what it leaves out."""
    units, tags, shown, left = text.encode("utf-16-le"), [], [], []
    at = 0

    def follow(node):
        nonlocal at
        if isinstance(node[0], int):
            start, stop = (2 * place for place in node)
            left.append(units[at:start].decode("utf-16-le"))
            shown.append(units[start:stop].decode("utf-16-le"))
            at = stop
        else:
            tags.append(node[0])
            for each in node[1:]:
                if isinstance(each, list):
                    follow(each)

    follow(lay_out(text))
    return tags[1:], shown, [*left, units[at:].decode("utf-16-le")]


VERBATIM = [
    "120*2 + 75*2 = 390",
    "2**3**4 and a*b*c, __init__ and _self_, snake_case_name",
    "C:\\*.txt and \\(x\\) and \\d+\\.",
    "> 30 days is too late\n>5 too",
    "&lt;b&gt; <b>bold</b> <!-- note -->",
    "Total\n-----x",
    "[r]: http://a.example\n\n[r]",
    "two  spaces\n\n\n  and lines",
    "[a](http://a.example 'with a title')",
    "|a|b|\n|-|-|\n|1|2|3|",
    "**bold** but \x00 is no character",
    "[" * 20_000,
    "",
]


@pytest.mark.parametrize("text", VERBATIM, ids=range(len(VERBATIM)))
def test_what_markdown_would_alter_has_no_layout(text):
    assert lay_out(text) is None


@pytest.mark.parametrize(
    ("text", "tags", "shown"),
    [
        ("**Yes**, *no*, ~~old~~ `code`", "p strong em s code", "Yes ,  no ,  old   code"),
        ("3. three\n7. seven", "ol li p li p", "3. three 7. seven"),
        ("- 5 °C\n* 6", "ul li p ul li p", "- 5 °C * 6"),
        ("## A\n\n---\nb  \nc", "h2 hr p br", "A b c"),
        ("|a|b|\n|:-|-:|\n|1||", "table thead tr th th tbody tr td td", "a b 1"),
        ("```py\nx = 1\n\n  y\n```", "small pre br br", "py x = 1   y"),
        ("[help](https://a.example/ü)", "p a small", "help https://a.example/ü"),
        ("[x](http://a.example/b_(c))(d)", "p a small", "x http://a.example/b_(c) (d)"),
        ("[no](javascript:alert(1)) **x**", "p strong", "[no](javascript:alert(1))  x"),
        ("[here](/logout)", "p span small", "here /logout"),
        ("![cat](data:image/png;base64,AA==)", "p small", "cat data:image/png;base64,AA=="),
        ("😀 **😀x** y", "p strong", "😀  😀x  y"),
        ("这是**重点**内容", "p strong", "这是 重点 内容"),
        ("120*2 is **240**", "p strong", "120*2 is  240"),
    ],
)
def test_a_layout_shows_the_words_of_its_source_in_order(text, tags, shown):
    found, words, left = read(text)
    assert found == tags.split()
    assert " ".join(words) == shown
    assert all(MARKS.fullmatch(each) for each in left)


@given(st.text(alphabet="ab1 *_~`#->|[]()!.\n\\&<:/h😀\t\r", max_size=60))
def test_no_letter_or_number_is_ever_lost_moved_or_made(text):
    if lay_out(text) is not None:
        _, shown, left = read(text)
        pairs = zip(left, [*shown, ""], strict=True)
        assert "".join(mark + words for mark, words in pairs) == text
        assert all(MARKS.fullmatch(each) for each in left)
