"""Checks of the answer against what the session had to go by: documents, and results of tools."""

import re
from decimal import Decimal
from typing import Literal

import polars as pl
from pydantic import Field

from evalbench.evaluate.checks.base import Check, Pattern, nothing, say
from evalbench.evaluate.finding import Finding, find_answer, list_documents, list_results, list_said
from evalbench.session import Session

# ``[policy-7]``, and with its parenthesis a Markdown link, which is none.
CITATION = r"\[([^\[\]\s][^\[\]\n]{0,79})\]\(?"
NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[$€£¥] ?)?(?P<digits>\d+(?:[.,'’\u00a0\u202f]\d+)*)(?P<percent> ?%)?"
)
LONGEST = 40  # characters of a number; what is longer is a text


class CitationCheck(Check):
    """Fails where the final output cites nothing, or what is not among the retrieved documents.

    A citation, the first group of ``pattern`` or all of it, is a document's id or its number.
    """

    check: Literal["citation_missing", "citation_unknown"]
    pattern: Pattern = CITATION

    def _look(self, session: Session) -> Finding:
        documents, answer = list_documents(session), find_answer(session)
        if not documents or answer is None:
            return nothing("no documents, or no final output")
        cited = find_citations(self.pattern, answer.content)
        if self.check == "citation_missing":
            return say(not cited, "the output cites nothing", f"it cites {', '.join(cited)}")
        if not cited:
            return nothing("the output cites nothing")
        known = {document.id.casefold() for document in documents}
        known |= {str(number + 1) for number in range(len(documents))}
        unknown = [each for each in cited if each.casefold() not in known]
        said = f"not among the retrieved documents: {', '.join(unknown)}"
        return say(unknown, said, "all were retrieved", [answer.quote(each) for each in unknown])


class NumberUnsupported(Check):
    """Fails where a number of the final output is in no document, tool result or message.

    1,234.50 is 1234.5, 12% is 0.12; bare whole numbers below ``least`` are no quotation. What an
    answer computes or rounds stands nowhere.
    """

    check: Literal["number_unsupported"]
    least: float = Field(default=10, ge=0)

    def _look(self, session: Session) -> Finding:
        answer = find_answer(session)
        sources = list_documents(session) + list_results(session)
        if not sources or answer is None:
            return nothing("no documents and tool results, or no final output")
        numbers = [each for each in NUMBER.finditer(answer.content) if self._is_quoted(each)]
        if not numbers:
            return nothing("the output quotes no number")
        told = sources + list_said(session, "user", "system")
        written = (each for source in told for each in NUMBER.finditer(source.content))
        known = set().union(*map(read_number, written))
        missing = [each[0] for each in numbers if not read_number(each) & known]
        evidence = [answer.quote(words) for words in missing]
        return say(missing, f"in no source: {', '.join(missing)}", "all in the sources", evidence)

    def _is_quoted(self, match: re.Match[str]) -> bool:
        bare = match["digits"].isdecimal() and not match["sign"] and not match["percent"]
        return not bare or Decimal(match["digits"]) >= self.least


GroundingCheck = CitationCheck | NumberUnsupported


def find_citations(pattern: str, text: str) -> list[str]:
    """Find what a text cites, each once."""
    marks = pl.Series([text]).str.extract_all(pattern).explode().drop_nulls()
    marks = marks.filter(~marks.str.ends_with("]("))
    named = marks.str.extract(f"(?:{pattern})|(.*)", 1).fill_null(marks)
    parts = (part.strip() for mark in named for part in re.split(r"[,;]", mark))
    return list(dict.fromkeys(part for part in parts if part))


def read_number(match: re.Match[str]) -> set[Decimal | str]:
    """Give all that a number may mean: 1,234 is a thousand and more, or one and a bit."""
    digits = re.sub(r"['’\u00a0\u202f]", "", match["digits"])
    if len(digits) > LONGEST:
        return {digits}
    marks = re.findall(r"[.,]", digits)
    *whole, last = re.split(r"[.,]", digits)
    grouped = all(len(part) == 3 for part in whole[1:]) and len(set(marks[:-1])) <= 1
    forms = [] if marks else [last]
    if marks and grouped and marks[-1:] != marks[-2:-1]:
        forms.append(f"{''.join(whole)}.{last}")
    if marks and grouped and len(last) == 3 and len(set(marks)) == 1:
        forms.append("".join((*whole, last)))
    readings = set(map(Decimal, forms))
    if match["percent"]:
        readings |= {value / 100 for value in readings}
    return {*readings} or {match["digits"]}
