"""One JSON line a claim: what is claimed, what came out, what was aimed at, beside whom."""

from __future__ import annotations

import argparse
import json
import sys

WHOLE = "--whole" in sys.argv
"""Whether the full size is asked for, and not the quick form."""


def claim(text, value, target, peer, at_most=True):
    """Print a claim and give whether it holds."""
    holds = bool(value <= target if at_most else value >= target)
    sign = "<=" if at_most else ">="
    value = round(float(value), 3)
    line = {"claim": text, "value": value, "target": f"{sign} {target}", "peer": peer}
    print(json.dumps({**line, "holds": holds}), flush=True)
    return holds


def show(text, value, peer):
    """Print a figure that nothing is claimed of."""
    print(json.dumps({"claim": text, "value": round(float(value), 3), "peer": peer}), flush=True)


def run_parts(parts, about):
    """Run the parts that the command line names, or all; give 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(parts)}; none: all")
    parser.add_argument("--whole", action="store_true", help="not the quick form")
    holds = []
    for name in parser.parse_args().part or parts:
        parts[name](holds)
    return 0 if all(holds) else 1
