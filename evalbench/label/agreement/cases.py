"""One adjudicator at the sessions whose annotators disagree."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from evalbench.errors import LabelError
from evalbench.label.agreement.adjudication import adjudicate, disagreements
from evalbench.label.agreement.consensus import ANY, judgements, latest_labels
from evalbench.label.agreement.measures import measure_agreement
from evalbench.label.annotation.answering import Answer, Desk
from evalbench.label.annotation.markdown import visible
from evalbench.label.annotation.retraction import read_bodies, read_notes
from evalbench.label.annotation.transcript import transcript
from evalbench.label.codebook.acts import read_codebook
from evalbench.label.codebook.restate import restate
from evalbench.label.entries import redact_note
from evalbench.schema import Judgement
from evalbench.session import make_session, read_sessions
from evalbench.store.workspace import Workspace

CODEBOOK = ("mode", "key", "name", "definition", "example", "severity")
SHOWN = ("verdict", "modes", "severity", "anchors")
SEED = 7


class Adjudication(Desk):
    """What an adjudicator sees of a surface; as an ``Annotation``, it knows no widget.

    ``cases`` are the sessions whose annotators disagree, those that wait first; ``item`` the
    transcript of the open one, its ``case`` the labels, without names until somebody has decided.
    """

    ACTS = ("decide", "open")

    def __init__(self, ws: Workspace, surface: str) -> None:
        self._ws, self.surface = ws, surface
        self.about = {"queue": "ruling", "surface": surface, "annotator": ws.user}
        self._modes = read_codebook(ws.ledger).live.filter(surface=surface)
        told = pl.col("name", "definition", "example").map_elements(visible, pl.String)
        self.codebook = self._modes.select(CODEBOOK).with_columns(told).to_dicts()
        self.item: dict[str, Any] = {}
        self.cases: list[dict[str, Any]] = []
        self.agreement: list[dict[str, Any]] = []
        self._read()
        self._show(next((each["session_id"] for each in self.cases if each["waits"]), ""))

    def decide(
        self,
        *,
        session_id: str,
        verdict: Judgement,
        modes: list[str],
        reason: str,
        labels: list[int],
    ) -> Answer:
        """Rule what holds of the open session by the labels shown; LabelError if others came."""
        if session_id != self.item.get("session_id"):
            raise LabelError(f"session {session_id} is not open: open it again")
        if not reason.strip():
            raise LabelError("a decision needs a reason: the people who disagreed read it")
        self._read()
        if labels != self._case(session_id)["labels"]:
            self._show(session_id)
            raise LabelError("somebody labelled this session meanwhile: look at it again")
        why = redact_note(self._ws, reason.strip(), session_id)
        ruled: dict[str, Any] = {"verdict": verdict, "modes": modes, "reason": why}
        seq = adjudicate(self._ws.ledger, self.surface, session_id, **ruled)
        self._read()
        people = {each["letter"]: each["annotator"] for each in self._labels_of(session_id)}
        behind = [each["session_id"] for each in self.cases if each["waits"]]
        self._show(behind[0] if behind else "")
        return {"tell": "decided", "session_id": session_id, "seq": seq, "people": people}

    def open(self, *, session_id: str) -> None:
        """Open a case, decided or not: a later decision replaces an earlier one."""
        self._case(session_id)
        self._show(session_id)

    def _read(self) -> None:
        """Read what people said and what was decided, as it stands now."""
        ledger, book = self._ws.ledger, read_codebook(self._ws.ledger)
        given, ruled = (
            restate(read_bodies(ledger, kind).filter(surface=self.surface), book)
            for kind in ("label.set", "label.adjudicated")
        )
        self._labels, self._rulings = latest_labels(given), ruled.sort("seq")
        disputes = disagreements(given, self._modes, ruled)
        decided = self._rulings.unique("session_id", keep="last")["session_id", "verdict"]
        names = {mode["mode"]: mode["name"] for mode in self.codebook} | {ANY: "pass or fail"}
        rows = disputes.join(decided, on="session_id", how="left").sort(
            "waits", descending=True, maintain_order=True
        )
        self.cases = [
            {
                "session_id": row["session_id"],
                "name": visible(row["session_id"]),
                "disputed": [names[mode] for mode in row["disputed"]],
                "waits": row["waits"],
                "labels": row["labels"],
                "decided": row["verdict"] or "",
                "modes": row["disputed"],
            }
            for row in rows.iter_rows(named=True)
        ]
        self.agreement = self._measure(given, disputes)

    def _measure(self, given: pl.DataFrame, disputes: pl.DataFrame) -> list[dict[str, Any]]:
        """Measure agreement on each mode as it is now, and count what is disputed and waits."""
        judged = judgements(given, self._modes, with_any=True)
        how: dict[str, Any] = {"level": self._ws.settings.level, "rng": np.random.default_rng(SEED)}
        measured = measure_agreement(judged, by=["surface", "mode"], **how)
        by_mode = disputes.explode("disputed").group_by(mode="disputed")
        counts = by_mode.agg(disputed=pl.len(), waits=pl.col("waits").sum())
        columns = ("mode", "n_items", "percent", "alpha", "alpha_low", "alpha_high", "reading")
        table = measured.select(*columns).join(counts, on="mode", how="left")
        order = {ANY: -1} | {mode["mode"]: n for n, mode in enumerate(self.codebook)}
        rows = table.with_columns(pl.col("disputed", "waits").fill_null(0)).to_dicts()
        return sorted(rows, key=lambda row: order.get(row["mode"], len(order)))

    def _case(self, session_id: str) -> dict[str, Any]:
        case = next((each for each in self.cases if each["session_id"] == session_id), None)
        if case is None:
            raise LabelError(f"nobody disagrees on session {session_id}")
        return case

    def _labels_of(self, session_id: str) -> list[dict[str, Any]]:
        """Return the labels of a session under letters that tell nothing of who gave them."""
        given = self._labels.filter(session_id=session_id).to_dicts()
        given.sort(key=lambda each: _shuffle(session_id, each["actor"]))
        notes = read_notes(self._ws.ledger).filter(surface=self.surface, session_id=session_id)
        said = dict(notes.sort("seq").select("actor", "text").rows())
        return [
            {
                **{name: each[name] for name in SHOWN},
                "letter": chr(ord("A") + number),
                "annotator": each["actor"],
                "note": visible(said.get(each["actor"], "")),
            }
            for number, each in enumerate(given)
        ]

    def _show(self, session_id: str) -> None:
        """Lay out a session with what was said of it; nothing where there is none."""
        if not session_id:
            self.item = {}
            return
        held = read_sessions(self._ws.lake, self.surface, [session_id])
        self._session = next(held, None) or make_session(self.surface, session_id, [])
        case, labels = self._case(session_id), self._labels_of(session_id)
        last = self._rulings.filter(session_id=session_id).tail(1).to_dicts()
        ruling = {name: last[0][name] for name in ("verdict", "modes", "reason")} if last else None
        if case["waits"]:
            labels = [{**each, "annotator": ""} for each in labels]
        about: Mapping[str, Any] = {**case, "given": labels, "ruling": ruling}
        self.item = {**transcript(self._session), "case": about}


def _shuffle(session_id: str, annotator: str) -> bytes:
    return hashlib.sha256(f"{session_id}\0{annotator}".encode()).digest()
