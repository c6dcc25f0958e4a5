"""README and docs say what holds: commands, parameters and links exist, claims are rows."""

import importlib
import json
import re
import shlex
from itertools import pairwise
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
WRITTEN = [README, *sorted((ROOT / "docs").glob("*.md"))]
FIGURES = re.compile(r"\d ?(?:ms|s|seconds?|minutes?|hours?|[MG]i?B|%|times)\b|\d0,\d{3} sessions")


def find_commands(text):
    """Find what is to be typed: lines of blocks of code, and code within prose."""
    text = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"(?m)^(?: {4})+ *(evalbench [a-z].*)$", text)
    return lines + re.findall(r"`(evalbench [a-z][^`]*)`", text)


COMMANDS = [(page, line) for page in WRITTEN for line in find_commands(page.read_text())]
COMMANDS += [(README, line) for _, line in STEPS.values() if line.startswith("evalbench")]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda each: getattr(each, "name", each))
def test_a_command_exists_with_its_options_and_parameters(page, line):
    words = shlex.split(line.replace("…", ""), comments=True)
    command, words = typer.main.get_command(app), words[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    assert [word for word in words if word.startswith("-") and word not in options] == []
    if asked := {after for word, after in pairwise(words) if word == "-p"}:
        notebook = "08_gate" if command.name == "gate" else words[0]
        assert asked <= set(inspect_notebook(str(runbook.find_notebook(notebook))))


def test_a_link_of_the_readme_leads_somewhere():  # those of the site are held by its builder
    links = re.findall(r"\]\(([^)\s]+)", README.read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_figure_that_is_claimed_is_a_row_of_the_benchmarks_that_holds():
    lines = (ROOT / "docs" / "benchmarks.jsonl").read_text("utf-8").splitlines()
    rows = [row for line in lines for row in json.loads(line)["rows"] if row.get("holds")]
    held = tuple(row["claim"] for row in rows)  # a link gives how it begins
    link = re.compile(r'\((?:docs/)?benchmarks\.md "([^"]+)"\)')
    prose = "\n\n".join(page.read_text() for page in WRITTEN if page.name not in MADE)
    named = link.findall(prose)
    assert [name for name in named if not any(each.startswith(name) for each in held)] == []
    prose = re.sub(r"(?ms)^```.*?^```|^ {4}.*?$", "", link.sub("(row)", prose))
    claims = [each for each in re.split(r"(?<=[.:;])\s|\n\n", prose) if FIGURES.search(each)]
    assert claims
    assert [each for each in claims if "(row)" not in each] == []


def test_the_page_of_benchmarks_is_made_of_what_is_on_record(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    table = importlib.import_module("table")
    *made, _ = table.write(table.read()).split("\n## ")  # the last part says what is not measured
    assert made == table.PAGE.read_text("utf-8").split("\n## ")[:-1]


def test_a_desk_is_a_widget_that_any_front_end_can_show_from_the_kernel_alone():
    shown = [each for each in vars(screens).values() if hasattr(each, "_esm")]
    assert len(shown) == 4
    for desk in shown:
        assert "export default" in desk._esm
        assert not re.search(r"""\bimport\b[^\n]*["']|@import|url\(["']?http""", desk._esm)
        assert not re.search(r"@import|url\(", desk._css)
