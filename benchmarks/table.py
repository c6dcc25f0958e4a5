"""Run benchmarks one after another, and write docs/benchmarks.md of the claims that they print.

    python benchmarks/table.py [--whole] [SCRIPT ...]

Each script runs in its quick form, or whole. What a script printed last stays on record in
docs/benchmarks.jsonl, so that one script can be run again alone. Exit status 1 where a script
failed or a claim does not hold.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "docs" / "benchmarks.jsonl", ROOT / "docs" / "benchmarks.md"
NO_CLAIMS = {"table", "peers"}
SCRIPTS = {
    path.stem: ast.get_docstring(ast.parse(path.read_text("utf-8"))).split("\n\n")[0]
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if "__main__" in path.read_text("utf-8") and path.stem not in NO_CLAIMS
}
"""What each script says of itself."""
HEAD = """# Benchmarks

Every claim that this documentation makes in figures is a row here, measured beside the tool or the
way that it names, in the same run. `make bench` measures all of it and writes this page;
`python benchmarks/table.py SCRIPT` measures one script again, `--whole` at its full size. Times are
those of the machine that each section names. A row whose target was missed says so.
"""


def run(script: str, whole: bool) -> dict[str, object]:
    """Run a script; give what it printed, how long it took, and where."""
    arguments = ["--whole"] if whole else []
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = sum(getattr(after, each) - getattr(before, each) for each in ("ru_utime", "ru_stime"))
    printed = [line for line in done.stdout.splitlines() if line.startswith('{"claim"')]
    sys.stdout.write(done.stdout)
    return {
        "script": script,
        "form": "whole" if whole else "quick",
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0]),
        "cpu_seconds": round(used),
        "seconds": round(time.perf_counter() - start),
        "status": done.returncode,
        "rows": [json.loads(line) for line in printed],
    }


def read() -> dict[str, dict[str, object]]:
    """Read what is on record, in the order of :data:`SCRIPTS`."""
    lines = RECORD.read_text("utf-8").splitlines() if RECORD.exists() else []
    known = {each["script"]: each for each in map(json.loads, lines)}
    return {script: known[script] for script in SCRIPTS if script in known}


def write(known: dict[str, dict[str, object]]) -> str:
    """Write the page."""
    parts = [HEAD]
    for script, about in known.items():
        took = f"{about['cpu_seconds']} s of processor time in {about['seconds']} s"
        if about["load"] > 2 * int(about["machine"].split()[0]):
            took += f", beside other work (load {about['load']}): its times are too long"
        heads = "| What | Measured | Target | Beside | Holds |\n|---|---:|---:|---|---|"
        rows = "\n".join([heads, *map(write_row, about["rows"])])
        parts.append(
            f"## {script}\n\n{SCRIPTS[script]}\n\n{about['form'].capitalize()} form, "
            f"{about['day']}, {about['machine']}: {took}.\n\n{rows}\n"
        )
    total = sum(about["cpu_seconds"] for about in known.values()) / 60
    missing = [script for script in SCRIPTS if script not in known]
    unmeasured = f" Not measured here: {', '.join(missing)}." if missing else ""
    parts.append(f"## All of it\n\n{total:.0f} minutes of processor time.{unmeasured}\n")
    return "\n".join(parts)


def write_row(row: dict[str, object]) -> str:
    """Write a claim as a row of the table."""
    holds = {True: "yes", False: "**no**", None: "shown only"}[row.get("holds")]
    cells = [row["claim"], f"{row['value']:,}", row.get("target", ""), row["peer"], holds]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Run what is asked, and write the page after each script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="not the quick form")
    parser.add_argument("script", nargs="*", choices=SCRIPTS, help="none: all")
    asked, holds = parser.parse_args(), []
    for script in asked.script or SCRIPTS:
        known = read() | {script: run(script, asked.whole)}
        ordered = {each: known[each] for each in SCRIPTS if each in known}
        RECORD.write_text("".join(json.dumps(each) + "\n" for each in ordered.values()), "utf-8")
        PAGE.write_text(write(ordered), "utf-8")
        holds.append(known[script]["status"] == 0)
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
