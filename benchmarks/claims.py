"""One JSON line a claim: what is claimed, what came out, what was aimed at, beside whom."""

from __future__ import annotations

import argparse
import json
import sys


def sized(whole, quick):
    """Give the full size where the command line says ``--whole``, else that of the quick form."""
    return whole if "--whole" in sys.argv else quick


def make_parser(about):
    """Make a parser of a command line that knows of ``--whole``."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--whole", action="store_true", help="the full size")
    return parser


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
    parser = make_parser(about)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(parts)}; none: all")
    holds = []
    for name in parser.parse_args().part or parts:
        parts[name](holds)
    return 0 if all(holds) else 1
