"""What the reports say: numbers with their interval, names for keys, "insufficient" aloud.

A headline is Markdown: names that traces or people gave stand in it escaped. Tables and charts take
them as they are, and escape them when they are drawn.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping

import polars as pl

from evalbench.evaluate.proposals.propose import Proposals
from evalbench.evaluate.spec import write_specification
from evalbench.label.agreement.consensus import ANY
from evalbench.label.annotation.markdown import escape_text, visible
from evalbench.operate.evidence import WHOLE
from evalbench.report.glossary import ASKED, LIMITS, WEIGHTS
from evalbench.schema import Design, QueueDrawn
from evalbench.snapshot import Snapshot

KEY = ["surface", "mode"]
INSUFFICIENT = "insufficient"
STATUSES = ("gating", "aligned", "not aligned", INSUFFICIENT)


def say_number(value: float, *, decimals: int = 0, signed: bool = False) -> str:
    """Write a number with thousands set apart and a true minus sign: "−1,204"."""
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    zero = not any(digit in text for digit in "123456789")
    return text.lstrip("+-") if zero else text.replace("-", "−")


def say_interval(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    decimals: int = 0,
    signed: bool = False,
) -> str:
    """Write a number with its interval, "48 (31 to 70)"; "insufficient" where there is none."""
    if value is None or low is None or high is None or math.isnan(value):
        return INSUFFICIENT
    number, *ends = (
        say_number(each, decimals=decimals, signed=signed) for each in (value, low, high)
    )
    return f"{number} ({' to '.join(ends)})"


def say_count(n: int, noun: str) -> str:
    """Write how many there are: "1 session", "2,104 sessions"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def say_suite(wear: pl.DataFrame, freshness: pl.DataFrame) -> str:
    """Say how worn a suite is, and whether new critical failure modes become cases in time."""
    lines = []
    for row in wear.iter_rows(named=True):
        counts = say_count(row["candidates"], "candidate"), say_count(row["decisions"], "decision")
        line = f"The {row['suite']} suite has served {' and '.join(counts)}."
        if math.isfinite(row["optimism"]):
            seems = say_number(1000 * row["optimism"])
            line += f" If all were equal, the best would look better by {seems} of 1,000 cases."
        if row["n_fresh"] and row["n_old"]:
            rates = [
                say_interval(*(1000 * row[f"{name}{end}"] for end in ("", "_low", "_high")))
                for name in ("old", "fresh")
            ]
            line += f" The candidate fails {rates[0]} of 1,000 on cases that others were run on"
            line += f", and {rates[1]} on fresh ones."
        by = row["retire_on"]
        lines.append(line + (f" Replace it by {by.day} {by:%B %Y}." if by else ""))
    due = freshness.filter(pl.col("timely") != "open")
    timely = due.filter(timely="in time").height
    if due.height:
        modes = say_count(due.height, "critical failure mode")
        lines.append(f"{timely} of {modes} got a case within 10 working days.")
    return " ".join(lines)


def say_surface(surface: str) -> str:
    """Write a surface's key as a name: "Support copilot" of "support_copilot"."""
    return surface[:1].upper() + surface[1:].replace("_", " ")


def _name_surface(surface: object) -> str:
    return escape_text(say_surface(str(surface)))


def say_group(row: Mapping[str, object]) -> str:
    """Write the heading that rows of a table or chart stand under: "Shop, release 2.1"."""
    words = {"surface": say_surface, "release": "release {}".format}
    parts = [
        words.get(name, str)(str(value))
        for name, value in row.items()
        if (name, value) != ("release", WHOLE)
    ]
    return ", ".join(parts)


def name_rows(frame: pl.DataFrame, view: Snapshot) -> pl.DataFrame:
    """Add ``name`` of the failure mode, and ``who`` of the evaluator, where a frame has their keys.

    An evaluator made elsewhere goes by the name that it came with.
    """
    columns = set(frame.columns)
    if columns >= set(KEY) and "name" not in columns:
        names = view.codebook.to_frame().select(*KEY, "name")
        joined = frame.join(names, on=KEY, how="left", maintain_order="left")
        whole = pl.when(pl.col("mode") == ANY).then(pl.lit("Pass or fail"))
        frame = joined.with_columns(name=whole.otherwise(pl.coalesce("name", "mode")))
    if columns >= {*KEY, "evaluator_id"}:
        kinds = {name: each.kind for name, each in view.specifications.items()}
        own_name = pl.col("evaluator_id").replace(kinds)
        frame = frame.with_columns(who=pl.format("{} ({})", "name", own_name))
    return frame


def say_sources(view: Snapshot) -> str:
    """Say what a report was made from: the sessions, and the state of the two stores."""
    days = view.sessions["started_at"].drop_nulls().sort().dt.to_string("%e %B %Y")
    when = "" if days.is_empty() else f" from {days[0].strip()} to {days[-1].strip()}"
    surfaces = ", ".join(map(_name_surface, view.sessions["surface"].unique().sort()))
    tables = ", ".join(
        f"{table} {version}"
        for table, version in sorted(view.lake_versions.items())
        if version >= 0
    )
    stores = f"Lake versions: {tables or 'none'}; ledger up to event {view.ledger_seq}."
    of = f" of {surfaces}" if surfaces else ""
    return f"{say_count(view.sessions.height, 'session')}{when}{of}. {stores}"


def say_shifted(shifted: pl.DataFrame) -> str:
    """Say in which releases the evaluators err otherwise than in the others; empty if in none."""
    return " ".join(
        f"In release {escape_text(release)} of {_name_surface(surface)} the evaluators err"
        " otherwise than in the others, so it is estimated from its own labels alone."
        for surface, release in shifted.iter_rows()
    )


def say_limits(limits: pl.DataFrame) -> pl.DataFrame:
    """Add ``says``: what a report cannot tell, in a sentence."""
    texts = [LIMITS[row["limit"]].format(**row) for row in limits.iter_rows(named=True)]
    return limits.with_columns(says=pl.Series(texts, dtype=pl.String))


def say_sample(sample: pl.DataFrame, draws: Mapping[int, QueueDrawn]) -> pl.DataFrame:
    """Add the ``window`` and ``design`` of each draw in words."""
    windows = {seq: _say_window(draw) for seq, draw in draws.items()}
    designs = {seq: _say_design(draw.design) for seq, draw in draws.items()}
    return sample.with_columns(
        window=pl.col("draw").replace_strict(windows, return_dtype=pl.String),
        design=pl.col("draw").replace_strict(designs, return_dtype=pl.String),
    )


def _say_window(draw: QueueDrawn) -> str:
    first = f"from {draw.start:%Y-%m-%d}" if draw.start else ""
    last = f"before {draw.end:%Y-%m-%d}" if draw.end else ""
    return f"{first} {last}".strip() or "any time"


def _say_design(design: Design) -> str:
    always = f"all that are {' or '.join(design.always)}; " if design.always else ""
    by = ", ".join((*design.by, "signals")).replace("segments.", "")
    judged = " and whether an evaluator fails it" if design.evaluators else ""
    return f"{always}the rest by {by}{judged}; at least {design.floor} a stratum"


def agreement_headline(found: pl.DataFrame, disputes: pl.DataFrame) -> str:
    """Say, surface by surface, what these labels can carry.

    Takes what ``measure_agreement`` found by surface and mode, and the sessions in dispute.
    """
    if found.is_empty():
        return "Nobody has labelled a session by failure modes, so agreement cannot be measured."
    lines = []
    for (surface,), own in found.group_by("surface", maintain_order=True):
        [verdict] = own.filter(mode=ANY).to_dicts()
        alpha = say_interval(*(verdict[f"alpha{end}"] for end in ("", "_low", "_high")), decimals=2)
        counts = Counter(own.filter(pl.col("mode") != ANY)["reading"])
        agreed = counts.pop("people agree", 0)
        doubts = ", ".join(f"{n} {reading}" for reading, n in sorted(counts.items()))
        waiting = disputes.filter("waits", surface=surface).height
        lines += [
            f"**{_name_surface(surface)}**",
            f"- Pass or fail: alpha {alpha}, {verdict['reading']};"
            f" {say_count(verdict['n_items'], 'session')} with two labels or more.",
            f"- People agree on {agreed} of {agreed + counts.total()} failure modes"
            f"{f' ({doubts})' if doubts else ''}.",
            f"- {say_count(waiting, 'session')} wait{'s' if waiting == 1 else ''} for an"
            " adjudicator.",
            "",
        ]
    return "\n".join(lines)


def say_disputes(disputes: pl.DataFrame, view: Snapshot) -> pl.DataFrame:
    """Name the failure modes that each session's annotators disagree on."""
    named = {key: mode.name for key, mode in view.codebook.modes.items()}
    about = [
        [named.get((surface, mode), mode) for mode in disputed if mode != ANY] or ["pass or fail"]
        for surface, disputed in disputes.select("surface", "disputed").iter_rows()
    ]
    return disputes.with_columns(disputed=pl.Series(about, dtype=pl.List(pl.String)))


def say_saturation(measured: pl.DataFrame, *, more: int) -> pl.DataFrame:
    """Add ``asked``: the question that each measure answers."""
    questions = {measure: words.format(more=more) for measure, words in ASKED.items()}
    return measured.with_columns(asked=pl.col("measure").replace_strict(questions))


def calibration_headline(found: pl.DataFrame, verdicts: pl.DataFrame) -> str:
    """Say how many evaluators agree with people, and how many verdicts say nothing."""
    if found.is_empty():
        why = "none has judged a session that people labelled and that is kept for the test."
        return f"**No evaluator can be measured yet**: {why}"
    counts = Counter(found["status"])
    said = ", ".join(f"{counts[name]} {name}" for name in STATUSES if name in counts)
    silent = verdicts["fails"].null_count()
    quiet = f" {silent:,} of {say_count(verdicts.height, 'verdict')} say nothing." if silent else ""
    return f"**{say_count(found.height, 'evaluator')} measured against people: {said}.**{quiet}"


def coverage_headline(coverage: pl.DataFrame, uncovered: pl.DataFrame) -> str:
    """Say how many failure modes an evaluator watches, and what weighs most of the rest."""
    if coverage.is_empty():
        return "**No failure mode counts yet**, so there is nothing an evaluator could cover."
    shares = {row["weight"]: row for row in coverage.iter_rows(named=True)}
    counted = shares.pop("modes")
    said = f"**{counted['covered']:.0f} of {counted['of']:.0f} failure modes are covered**"
    weighed = [
        f"{100 * row['share']:.0f}% {WEIGHTS[weight]}"
        for weight, row in shares.items()
        if row["share"] is not None
    ]
    said += f" ({', '.join(weighed)})." if weighed else "."
    heaviest = ", ".join(map(escape_text, uncovered["name"].head(3)))
    return f"{said} Not covered, the heaviest first: {heaviest}." if heaviest else said


def say_coverage(coverage: pl.DataFrame) -> pl.DataFrame:
    """Add the ``name`` of each way to count, and its share in words, ``said``."""
    names = {"modes": "each mode alike"} | WEIGHTS
    percent = pl.format("{}%", (100 * pl.col("share")).round(0).cast(pl.Int64))
    return coverage.with_columns(
        name=pl.col("weight").replace_strict(names), said=percent.fill_null("not known")
    )


def proposals_headline(proposals: Proposals) -> str:
    """Say for how many failure modes an evaluator is proposed."""
    modes = proposals.modes
    if modes.is_empty():
        return "**Nothing to propose**: every failure mode has an evaluator, or none was asked for."
    kinds = Counter(modes["kind"].drop_nulls())
    proposed = ", ".join(f"{n} by a {kind}" for kind, n in kinds.items())
    of = say_count(modes.height, "failure mode")
    first = f"An evaluator is proposed for {kinds.total()} of {of}: {proposed}."
    said = first if kinds else f"No evaluator could be proposed for {of}."
    without = Counter(modes.filter(pl.col("kind").is_null())["status"])
    rest = ", ".join(f"{n} {status}" for status, n in without.items())
    return f"**{said}**" + (f" Without a proposal: {rest}." if rest else "")


def write_proposals(proposals: Proposals) -> str:
    """Write what is proposed in Markdown: specifications, and what was changed in a rubric."""
    parts = []
    for name in proposals.modes["evaluator_id"].drop_nulls():
        made = proposals.made[name]
        parts += [write_block("yaml", write_specification(made.specification))]
        parts += [write_block("diff", made.diff)] if made.diff else []
    return "\n\n".join(parts)


def write_block(language: str, text: str) -> str:
    """Write a block of code that no line of its text can end."""
    fence = "`" * (3 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{visible(text).rstrip()}\n{fence}"


def say_proposals(proposals: Proposals, candidates: pl.DataFrame) -> pl.DataFrame:
    """Put beside each proposal how far it agreed with people, and what it costs."""
    key, known = [*KEY, "kind"], set(proposals.modes.columns)
    facts = candidates.select(*key, *(name for name in candidates.columns if name not in known))
    joined = proposals.modes.join(facts, on=key, how="left", maintain_order="left")
    return joined.with_columns(pl.col("kind").fill_null("none"))


def say_cost(candidates: pl.DataFrame) -> pl.DataFrame:
    """Add ``cost_said``: what 1,000 sessions cost, where anything was measured."""
    dollars = pl.format("${} per 1,000", pl.col("dollars_per_1000").round(2))
    cost = pl.when(pl.col("dollars_per_1000") == 0).then(pl.lit("free")).otherwise(dollars)
    unknown = pl.when(pl.col("n").is_not_null()).then(pl.lit("unknown"))
    measured = pl.col("dollars_per_1000").is_not_null()
    return candidates.with_columns(cost_said=pl.when(measured).then(cost).otherwise(unknown))
