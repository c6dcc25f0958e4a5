"""What 02 says of a draw: what it is for, what it costs, and what it leaves open."""

from typing import NamedTuple

import polars as pl

from evalbench import stats
from evalbench.errors import EvalbenchError
from evalbench.evaluate.promotion import ASSURANCE, plan_promotion
from evalbench.label.agreement.measures import FEWEST
from evalbench.label.annotation.markdown import escape_text
from evalbench.label.annotation.workload import add_minutes
from evalbench.operate.evidence import find_targets
from evalbench.report.glossary import READINGS
from evalbench.report.sentences import say_count, say_interval, say_number, say_surface
from evalbench.snapshot import Snapshot

PER_1000 = ("per_1000", "low_per_1000", "high_per_1000")
DECISIONS = ("", "release", "promote", "first")


class Aim(NamedTuple):
    """The decision that a draw is for: half of it is sessions that one of ``targets`` fails."""

    targets: tuple[str, ...] = ()
    said: str = ""


def choose_aim(view: Snapshot, decide: str, verdicts: pl.DataFrame) -> Aim:
    """Choose whose verdicts a draw goes by, and say what is open and what it takes to settle it.

    "release": did the newest one fix what it set out to? "promote": which evaluator is nearest to
    counting? "first": which failure happens most? Raises EvalbenchError on another decision, and
    where there is nothing to decide on.
    """
    if decide not in DECISIONS:
        raise EvalbenchError(f"decide must be one of {', '.join(DECISIONS[1:])}; got {decide!r}")
    if decide == "release":
        release, _, targets = find_targets(view.shipped, verdicts)
        return Aim(targets, say_pending(view.changes, release))
    if decide == "promote":
        how = {"settings": view.ws.settings.evaluators, **view.measured}
        plan = plan_promotion(view.statuses, view.tried, verdicts, view.sessions.height, **how)
        if plan.is_empty():
            raise EvalbenchError(
                "no evaluator is insufficient: score one and record its calibration with 07 first"
            )
        nearest = plan.filter(evaluator_id=plan["evaluator_id"][0])
        names = dict(view.modes.select("mode", "name").iter_rows())
        return Aim((plan["evaluator_id"][0],), say_promotion(nearest, names))
    if decide == "first":
        rates = view.overall_rates.drop_nulls("estimate").sort("estimate", descending=True)
        if rates.height < 2:
            raise EvalbenchError("fewer than two failures have a rate: label sessions first")
        rivals = rates.filter(pl.col("high") >= rates["low"][0])
        judging = verdicts.filter(pl.col("mode").is_in(rivals["mode"].implode()))
        targets = tuple(judging["evaluator_id"].unique().sort()) if rivals.height > 1 else ()
        n, level = view.sessions.height, view.ws.settings.level
        return Aim(targets, say_first(rates, rivals, n_sessions=n, level=level))
    return Aim()


def say_promotion(plan: pl.DataFrame, names: dict[str, str]) -> str:
    """Say what it takes until the evaluator of a plan may count, and what stopping leaves open."""
    first = plan.row(0, named=True)
    name = escape_text(names.get(first["mode"], first["mode"]))
    lines = [f"Nearest to counting is the evaluator of *{name}*: {escape_text(first['why'])}."]
    for row in plan.iter_rows(named=True):
        labels = f"{say_count(row['flagged'] + row['passed'], 'more label')}"
        split = f"{row['flagged']:,} of sessions that it fails, {row['passed']:,} that it passes"
        enough = row["assurance"] >= ASSURANCE
        would = "would show" if enough else "are too few to show reliably"
        chance = f"{row['assurance']:.0%} chance"
        lines.append(f"- {labels} ({split}) {would} it to be {row['aim']}: {chance}.")
    if first["dollars"] is not None:
        cost = say_number(first["dollars"], decimals=2)
        lines.append(f"- To judge all sessions that it has not judged costs about ${cost}.")
    lines.append("- Stopping here leaves it a draft: its verdicts enter no rate and no gate.")
    return "\n".join(lines)


def say_first(rates: pl.DataFrame, rivals: pl.DataFrame, *, n_sessions: int, level: float) -> str:
    """Say which failure happens most, or between which that is open and what would settle it."""
    said = [
        f"*{escape_text(row['name'])}*, {say_interval(*(row[end] for end in PER_1000))}"
        for row in rates.head(max(rivals.height, 2)).iter_rows(named=True)
    ]
    if rivals.height == 1:
        return f"Which failure happens most is decided: {said[0]} per 1,000, before {said[1]}."
    top, second = rates["estimate"][:2]
    gap = max((top - second) / 2, 0.0005)
    needed = stats.labels_for_rate(gap, rate=top, level=level)
    opened = f"Which failure happens most is open between {'; '.join(said)} per 1,000."
    if needed > n_sessions:
        return f"{opened} No reading of these sessions would tell the first two apart: weigh harm."
    return (
        f"{opened} From labels alone it takes {say_number(needed)} to tell the first two apart;"
        " stopping here leaves it open."
    )


def say_draw(
    population: pl.DataFrame, items: pl.DataFrame, view: Snapshot, queue: int | None
) -> str:
    """Say how many sessions were drawn, how many labels they want, and where the draw is."""
    total, labels = int(population["n"].sum()), int(items["annotators"].sum())
    surface = escape_text(say_surface(str(view.surface)))
    again = items["inclusion_probability"].null_count()
    of = f"{items.height - again:,} of {say_count(total, 'session')} of {surface}"
    of += f", and {again:,} read before" if again else ""
    kept = "Not recorded (dry run)" if queue is None else f"Recorded as queue {queue}"
    return f"**{of}**, {say_count(labels, 'label')}. {kept}. Seed {view.seed}."


def say_reach(items: pl.DataFrame, needed: int, *, margin: float, rate: float) -> str:
    """Say what a draw cannot answer: a change of ``margin``, and how far people agree."""
    twice = items.filter(pl.col("annotators") > 1).height
    change = f"a change of {say_number(1000 * margin)} per 1,000 sessions"
    lines = []
    if items.height < needed:
        lines.append(
            f"- Too few to show {change}, in a failure that {say_number(1000 * rate)} of 1,000 "
            f"sessions have: from labels alone that takes {say_number(needed)} before it and as "
            "many after. Read more, or let a calibrated evaluator judge all sessions."
        )
    if twice < FEWEST:
        lines.append(
            f"- Too few to say how far people agree: {say_count(twice, 'session')} will be read by "
            f"two people or more, and {FEWEST} are needed. Ask for more annotators per session."
        )
    return "\n".join(lines) or f"Enough to show {change}, and to say how far people agree."


def say_reading_time(items: pl.DataFrame, labels: pl.DataFrame) -> str:
    """Say how long the labels of a draw take at the pace of those given so far."""
    taken, wanted = add_minutes(labels)["minutes"].drop_nulls(), int(items["annotators"].sum())
    if taken.is_empty():
        return f"How long {say_count(wanted, 'label')} take is not known: nobody has labelled yet."
    minutes = float(taken.sum()) / len(taken)
    hours = say_number(wanted * minutes / 60, decimals=1)
    pace = say_number(minutes, decimals=1)
    return f"About {hours} hours of reading, at {pace} minutes a label so far; no model is asked."


def say_pending(changes: pl.DataFrame, release: str) -> str:
    """Say what is not decided of a release's targets, and so what stopping here leaves open."""
    aimed = changes.filter(release=release, target="yes")
    still = aimed.filter(~pl.col("reading").str.starts_with("confirmed"))
    if still.is_empty():
        return f"All that release {escape_text(release)} set out to fix is decided already."
    names = "; ".join(
        f"*{escape_text(name)}* ({READINGS[reading]})"
        for name, reading in still["name", "reading"].iter_rows()
    )
    return f"Of release {escape_text(release)}, stopping here leaves open: {names}."


def say_strata(population: pl.DataFrame, surface: str) -> pl.DataFrame:
    """Name each stratum, with the ``share`` of its sessions that is read, and say it."""
    name = pl.col("stratum").str.replace_all(" | ", ", ", literal=True).str.replace_all("=", " ")
    read = {"share": pl.col("drawn") / pl.col("n"), "said": pl.format("{} of {}", "drawn", "n")}
    return population.select(surface=pl.lit(surface), name=name, **read)
