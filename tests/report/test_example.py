"""The committed example is one whole run: its page, tables and manifest are of its result."""

import csv
import hashlib
import html
import re
from pathlib import Path

import orjson
from claim_lint import find_claims

from evalbench.report.sentences import say_interval

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"


def test_the_example_is_held_to_its_result():
    written = (EXAMPLE / "result.json").read_bytes()
    manifest = orjson.loads((EXAMPLE / "manifest.json").read_bytes())
    assert manifest["notebook"] == "11_impact"
    assert manifest["result_sha256"] == hashlib.sha256(written).hexdigest()
    result = orjson.loads(written)
    assert {path.stem for path in (EXAMPLE / "tables").iterdir()} == result.keys()
    for name, rows in result.items():
        with (EXAMPLE / "tables" / f"{name}.csv").open(newline="") as table:
            kept = [{key: bool(cell) for key, cell in row.items()} for row in csv.DictReader(table)]
        assert kept == [
            {key: value not in (None, "") for key, value in row.items()} for row in rows
        ]
    page = (EXAMPLE / "report.html").read_text().replace("\u00a0", " ")
    known = [row for row in result["rates"] if row["status"] == "ok"]
    assert known
    for row in known:
        ends = (row["per_1000"], row["low_per_1000"], row["high_per_1000"])
        assert say_interval(*ends) in page
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 3_000_000
    assert (EXAMPLE / "report.pdf").read_bytes()[:5] == b"%PDF-"
    pictures = {path.name for path in (EXAMPLE / "figures").iterdir()}
    figures = {f"figure-{each}.png" for each in ("coverage", "targets", "year")}
    assert pictures == {*figures, "page.png"}


def test_the_examples_first_page_claims_nothing_without_its_interval():
    page = (EXAMPLE / "report.html").read_text()
    front = page[page.index('<section class="front">') :].partition("</section>")[0]
    title = re.search("<title>(.*)</title>", page)[1]
    assert title == "AI quality, Q3 2026, three products"
    sentences = re.findall("(?s)<li>(.*?)</li>", front)[:3]
    assert len(sentences) == 3
    prose = [html.unescape(re.sub("<[^>]*>", " ", text)) for text in sentences]
    assert [claim for text in prose for claim in find_claims(text)] == []
    assert find_claims(re.sub("(?s)<svg.*?</svg>|<[^>]*>|better|worse", " ", front)) == []
    links = set(re.findall('href="#(examples-[^"]+)"', page))
    assert links
    assert all(f'id="{link}"' in page for link in links)
