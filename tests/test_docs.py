"""README and docs say what holds: commands, parameters and links exist, claims are rows."""

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from papermill import inspect_notebook

from evalbench.cli import app
from evalbench.report import runbook
from evalbench.report.glossary import STEPS
from evalbench.widgets import screens

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MADE = {"commands.md", "benchmarks.md"}  # by the programs that they are of
WRITTEN = [
    README,
    *(each for each in sorted((ROOT / "docs").glob("*.md")) if each.name not in MADE),
]
COMMAND = re.compile(r"evalbench (?:[a-z]|11_).*")
FIGURES = re.compile(
    r"\d[\d,.]* ?(?:ms|s|seconds?|minutes?|hours?|[MG]i?B|%|times)\b|\d,\d{3} sessions"
)


def find_commands(text):
    """Find what is to be typed: lines of blocks of code, and code within prose."""
    text = re.sub(r"\\\n\s*", "", text)
    blocks = [line.strip() for line in re.findall(r"(?m)^(?: {4}|\t)(.*)$", text)]
    for fenced in re.findall(r"(?ms)^```(?:sh|console)\n(.*?)^```", text):
        blocks += [line.removeprefix("$ ") for line in fenced.splitlines()]
    blocks += re.findall(r"`(evalbench [^`]+)`", text)
    return [line for line in blocks if COMMAND.fullmatch(line.split("  #")[0].strip())]


COMMANDS = [(page, line) for page in WRITTEN for line in find_commands(page.read_text())]
COMMANDS += [(README, command.format(surface="s")) for _, command in STEPS.values()]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda each: getattr(each, "name", each))
def test_a_command_exists_with_its_options_and_parameters(page, line):
    words = shlex.split(line.replace("…", ""), comments=True)
    if words[0] != "evalbench":
        return  # Python, which reads what a person promotes
    command, words = typer.main.get_command(app), words[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    assert [word for word in words if word.startswith("-") and word not in options] == []
    if command.name == "gate":
        words = ["08_gate", *words]
    if "-p" in words:
        known = inspect_notebook(str(runbook.find_notebook(words[0])))
        asked = [words[at + 1] for at, word in enumerate(words) if word == "-p"]
        assert set(asked) <= set(known)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_a_link_within_the_project_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)", page.read_text())
    inner = [link.split("#")[0] for link in links if not link.startswith(("http", "#"))]
    assert [link for link in inner if not (page.parent / link).exists()] == []


def test_every_figure_that_the_readme_claims_is_a_row_of_the_benchmarks():
    lines = (ROOT / "docs" / "benchmarks.jsonl").read_text("utf-8").splitlines()
    rows = {row["claim"]: row for line in lines for row in json.loads(line)["rows"]}
    link = re.compile(r'\(docs/benchmarks\.md "([^"]+)"\)')
    prose = re.sub(r"(?m)^ {4}.*$", "", README.read_text())
    named = link.findall(prose)
    assert [name for name in named if not rows.get(name, {}).get("holds")] == []
    sentences = re.split(r"(?<=[.:;])\s|\n\n", link.sub("(row)", prose))
    claims = [each for each in sentences if FIGURES.search(each)]
    assert claims
    assert [each for each in claims if "(row)" not in each] == []


def test_the_page_of_benchmarks_is_made_of_what_is_on_record(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import table

    assert table.write(table.read()) == table.PAGE.read_text("utf-8")
    assert {f"{name}.py" for name in table.SCRIPTS} == {
        path.name
        for path in (ROOT / "benchmarks").glob("*.py")
        if "__main__" in path.read_text() and path.name not in ("table.py", "peers.py")
    }


def test_a_desk_is_a_widget_that_any_front_end_can_show_from_the_kernel_alone():
    shown = [each for each in vars(screens).values() if hasattr(each, "_esm")]
    assert len(shown) == 4
    for desk in shown:
        assert re.search(r"export default", desk._esm)
        assert not re.search(r"""\bimport\b[^\n]*["']|@import|url\(["']?http""", desk._esm)
        assert not re.search(r"@import|url\(", desk._css)
