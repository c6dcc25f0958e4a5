"""Evaluators proposed from labels: for each failure mode the lightest kind that agrees with people.

Candidates are tuned on the train split and measured once on the test split
(``candidates``). What is proposed is a draft: :func:`adopt` defines
it, ``07_calibrate`` measures it again from the verdict table, and a person promotes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from evalbench.errors import EvaluatorError
from evalbench.evaluate.proposals.candidates import CANDIDATE, UNTESTED, Bench, Candidate, Row
from evalbench.evaluate.spec import Specification, define, write_specification
from evalbench.evaluate.status import COUNTING
from evalbench.llm import UNLIMITED, Limits, Spent
from evalbench.schema import EvaluatorKind

if TYPE_CHECKING:
    from evalbench.store.workspace import Workspace

KINDS: tuple[EvaluatorKind, ...] = ("check", "classifier", "judge")
"""The lightest first."""
PROPOSAL = ("surface", "mode", "name", "kind", "evaluator_id", "status", "why")


@dataclass(frozen=True)
class Proposals:
    """What was proposed, and what it was chosen from.

    Attributes
    ----------
    modes : polars.DataFrame
        ``surface, mode, name, kind, evaluator_id, status, why``: one row a mode. Without a proposal
        ``kind`` is null and ``status`` insufficient or not aligned.
    candidates : polars.DataFrame
        Columns :data:`CANDIDATE`: every candidate measured on the test split, and those that could
        not be made, by ``why``. Costs are of one session in ``milliseconds``, of 1,000 in dollars.
    made : dict of str to Candidate
        By evaluator, those that were made.
    spent : Spent
        What calls to models used.
    """

    modes: pl.DataFrame
    candidates: pl.DataFrame
    made: dict[str, Candidate] = field(repr=False)
    spent: Spent


def propose(
    ws: Workspace,
    truth: pl.DataFrame,
    modes: pl.DataFrame,
    *,
    model: str = "",
    reflection_model: str = "",
    every_kind: bool = False,
    limits: Limits = UNLIMITED,
    rng: np.random.Generator,
) -> Proposals:
    """Propose for each mode the lightest kind of evaluator that is aligned with people.

    A heavier kind is made where no lighter one is aligned by ``ws.settings.evaluators``. Up to
    three candidates of a mode meet the same test split, so the one proposed looks a little better
    than it is; the interval is of one evaluator.

    Parameters
    ----------
    truth : polars.DataFrame
        ``surface, session_id, mode, truth``: what people agree on, null where they do not. An
        evaluator is measured against this, so its TPR and TNR bear the errors that are left in it:
        prefer labels whose disagreements somebody decided.
    modes : polars.DataFrame
        The codebook, as ``label.codebook.read_codebook(ledger).live``.
    model, reflection_model : str
        The judge's, and the one that rewrites its rubric by GEPA; empty: no judge, no rewriting.
    every_kind : bool
        Make the heavier kinds, too, to compare.
    limits : Limits
        For all calls together. Verdicts of judges go to the verdict table, where a later call finds
        them.

    Raises
    ------
    ModelError
        A model cannot be called at all.
    """
    parts, found, made = [pl.DataFrame(schema=CANDIDATE)], [], {}
    spent = Spent()
    for [surface], book in modes.group_by("surface", maintain_order=True):
        labels = truth.filter(surface=surface).drop_nulls("truth")
        bench = Bench.open(ws, str(surface), labels, model, reflection_model, limits, rng, spent)
        for mode in book.iter_rows(named=True):
            rows = []
            for kind in KINDS:
                row, candidate = bench.try_kind(kind, mode)
                rows.append(row)
                if candidate is not None:
                    made[candidate.specification.evaluator_id] = candidate
                settled = row["status"] in COUNTING and not every_kind
                if settled or row["why"].startswith(UNTESTED):
                    break
            chosen = next((row["kind"] for row in rows if row["status"] in COUNTING), None)
            rows = [row | {"proposed": row["kind"] == chosen} for row in rows]
            parts.append(pl.DataFrame(rows, schema=CANDIDATE))
            found.append(_conclude(rows))
    table = pl.DataFrame(found, schema=dict.fromkeys(PROPOSAL, pl.String))
    return Proposals(table, pl.concat(parts), made, spent)


def adopt(
    ws: Workspace, proposals: Proposals, names: Sequence[str], *, modes: pl.DataFrame
) -> list[Specification]:
    """Define candidates by their evaluator's id, as drafts, and give their specifications.

    Raises
    ------
    EvaluatorError
        No such candidate was made, or the codebook does not know its mode.
    """
    adopted = []
    for name in names:
        if name not in proposals.made:
            known = ", ".join(proposals.made) or "none"
            raise EvaluatorError(f"no candidate {name!r} was made; there are {known}")
        candidate = proposals.made[name]
        if candidate.file:
            path = ws.path / "classifiers" / f"{candidate.specification.parameters['sha256']}.skops"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(candidate.file)
        define(ws.ledger, candidate.specification, modes=modes)
        adopted.append(candidate.specification)
    return adopted


def write_proposals(proposals: Proposals) -> str:
    """Write what is proposed in Markdown: specifications, and what was changed in a rubric."""
    parts = []
    for name in proposals.modes["evaluator_id"].drop_nulls():
        made = proposals.made[name]
        parts.append(f"```yaml\n{write_specification(made.specification)}```")
        parts += [f"```diff\n{made.diff}\n```"] if made.diff else []
    return "\n\n".join(parts)


def _conclude(rows: Sequence[Row]) -> Row:
    """Say of a mode what is proposed, or why nothing is."""
    row = {name: rows[0][name] for name in ("surface", "mode", "name")}
    for each in rows:
        if each["proposed"]:
            return row | {name: each.get(name) for name in PROPOSAL[3:]}
    insufficient = any(each["status"] == "insufficient" for each in rows)
    tried = [each for each in rows if not each["why"].startswith(UNTESTED)]
    why = "; ".join(f"{each['kind']}: {each['why']}" for each in tried) or rows[0]["why"]
    return row | {"status": "insufficient" if insufficient else "not aligned", "why": why}
