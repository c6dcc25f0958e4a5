"""Whether evaluators that are proposed from labels are as good as they are said to be.

    python benchmarks/generate.py

On the simulated company: its annotators label, an adjudicator decides where they disagree, and for
each failure mode the lightest kind of evaluator that is aligned on the test split is proposed, as
06_evaluators does. Its TPR and TNR against what was planted, in all sessions but those it was tuned
on, are then looked up in the intervals that were printed. Modes with too few failing sessions of
the test split are insufficient, have no evaluator, and are counted apart. Three years of the
company, drawn anew, are pooled: with 40 modes a year, chance alone moves the share by 5 points.

Exit status 1 when a claim does not hold.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from claims import claim, make_parser, show, sized

from evalbench.demo.company import QUARTERS, SURFACES
from evalbench.demo.journey import play_year
from evalbench.errors import EvaluatorError
from evalbench.evaluate.proposals.propose import look, propose
from evalbench.evaluate.score import score
from evalbench.evaluate.spec import Specification
from evalbench.evaluate.split import assign_split, with_split
from evalbench.session import read_sessions
from evalbench.snapshot import take_snapshot
from evalbench.store.workspace import open_workspace

HELD = ("tpr", "tnr")


def measure(ws):
    """Give what was proposed for each mode, and the intervals beside the truth."""
    modes, compared = [], []
    for surface in SURFACES:
        view = take_snapshot(ws, surface)
        truth = view.truth.rename({"fails": "truth"})
        found = propose(ws, truth, view.modes, rng=np.random.default_rng(7))
        modes.append(found.modes)
        compared.append(compare_proposals(ws, found, ws.path / "truth"))
    return pl.concat(modes), pl.concat(compared)


def compare_proposals(ws, proposals, truth):
    """The true TPR and TNR in all sessions but those tuned on, beside the printed intervals."""
    planted = pl.read_parquet(truth / "sessions.parquet")
    labelled = set(ws.ledger.events("label.set")["subject"])
    rows = []
    for [surface], part in proposals.candidates.filter("proposed").group_by("surface"):
        own = planted.filter(surface=surface)
        opened = [
            session
            for session in read_sessions(ws.lake, str(surface), own["session_id"].to_list())
            if session.session_id not in labelled
            or assign_split(str(surface), session.session_id, session.row["group_key"]) == "test"
        ]
        shown = dict(own.select("session_id", "modes").iter_rows())
        for row in part.iter_rows(named=True):
            fails = np.array([row["mode"] in shown[each.session_id] for each in opened])
            found = look(proposals.made[row["evaluator_id"]], opened)
            flagged = np.array([each.fails for each in found], dtype=float)
            rates = {"tpr": (flagged[fails] == 1).mean(), "tnr": (flagged[~fails] == 0).mean()}
            ends = {
                f"{name}{end}": row[f"{name}{end}"]
                for name in HELD
                for end in ("", "_low", "_high")
            }
            told = {f"true_{name}": float(rates[name]) for name in HELD}
            rows.append({name: row[name] for name in ("surface", "mode", "kind")} | ends | told)
    return pl.DataFrame(rows).with_columns(
        pl.col(f"true_{name}").is_between(f"{name}_low", f"{name}_high").alias(f"{name}_held")
        for name in HELD
    )


def count_refused_leaks(ws):
    """Show a judge one labelled session of the test split a surface; give how many are refused."""
    refused = 0
    for surface in SURFACES:
        sessions = with_split(ws.lake.sessions(surface=surface).collect())
        leaked = sessions.filter(split="test")["session_id"][0]
        judge = Specification(
            surface=surface,
            mode="any",
            kind="judge",
            owner="benchmark",
            prompt="It fails.",
            model="offline/rubric",
            parameters={"examples": [{"session_id": leaked, "fails": True}]},
        )
        try:
            score(ws, [judge], sessions.filter(split="train").head(1))
        except EvaluatorError as error:
            refused += f"{leaked!r} of {surface} is in the test split" in str(error)
    return refused


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=sized([7, 8, 9], [7]))
    parser.add_argument("--sessions", type=int, default=sized(5000, 1500), help="a surface")
    asked = parser.parse_args()
    standing, compared = [], []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            ws = open_workspace(Path(folder), user="benchmark")
            year = {"seed": seed, "sessions_per_surface": asked.sessions, "quarters": QUARTERS}
            play_year(ws, **year)
            modes, found = measure(ws)
            standing.append(modes)
            compared.append(found)
            held = found.select(pl.col("tpr_held") & pl.col("tnr_held")).to_series()
            show(f"seed {seed}: modes whose TPR and TNR are both held", held.mean(), "")
            refused = count_refused_leaks(ws)
    modes, found = pl.concat(standing), pl.concat(compared)
    both = found.select(pl.col("tpr_held") & pl.col("tnr_held")).to_series()
    n = f"{len(both)} proposed"
    for status, some in modes.group_by("status", maintain_order=True):
        show(f"modes that read {status[0]}", some.height, f"{modes.height} modes")
    show("proposed evaluators that are checks", (found["kind"] == "check").mean(), n)
    for name in ("tpr", "tnr"):
        show(f"median width of the interval of {name.upper()}", width(found, name), n)
        show(f"modes whose true {name.upper()} is in its interval", found[f"{name}_held"].mean(), n)
    held = "modes whose true TPR and TNR are both in the printed intervals"
    holds = [
        claim(held, both.mean(), 0.9, n, at_most=False),
        claim("test sessions refused as few-shot examples, of 3", refused, 3, "", at_most=False),
    ]
    return 0 if all(holds) else 1


def width(found, name):
    return (found[f"{name}_high"] - found[f"{name}_low"]).median()


if __name__ == "__main__":
    sys.exit(main())
