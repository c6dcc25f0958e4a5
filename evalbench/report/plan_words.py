"""What 12 says of the starter plan: what is done, and the command that does what is next."""

import shlex

import polars as pl

from evalbench.label.annotation.markdown import escape_text
from evalbench.report.glossary import STEPS
from evalbench.report.sentences import say_surface, write_block

FIRST = "evalbench ingest traces.jsonl --surface NAME"


def plan_headline(plan: pl.DataFrame) -> str:
    """Say of each surface how much is done, and what is to be run next."""
    if plan.is_empty():
        return f"**No traces have come in yet.** First of all:\n\n{write_block('sh', FIRST)}"
    parts = []
    for (surface,), own in say_plan(plan).group_by("surface", maintain_order=True):
        done, following = own.filter(standing="done"), own.filter(standing="next")
        said = f"**{escape_text(say_surface(str(surface)))}**: {done.height} of {own.height} steps"
        if following.is_empty():
            parts.append(f"{said} are done; the first month is over.")
            continue
        [row] = following.to_dicts()
        so_far = f" ({row['so_far']} so far)" if row["wanted"] > 1 else ""
        what = row["title"].lower()
        parts.append(f"{said} are done. Next, in week {row['week']}: {what}{so_far}.")
        parts.append(write_block("sh", row["command"]))
    return "\n\n".join(parts)


def say_plan(plan: pl.DataFrame) -> pl.DataFrame:
    """Add the ``title`` and ``command`` of each step, how much there is ``so_far``, and the day."""
    titles, commands = ({step: words[n] for step, words in STEPS.items()} for n in (0, 1))
    step, quoted = pl.col("step"), pl.col("surface").map_elements(shlex.quote, pl.String)
    command = step.replace_strict(commands, return_dtype=pl.String)
    several = pl.when(pl.col("wanted") > 1).then(pl.format("{} of {}", "have", "wanted"))
    return plan.with_columns(
        title=step.replace_strict(titles, return_dtype=pl.String),
        command=command.str.replace("{surface}", quoted, literal=True),
        so_far=several.otherwise(pl.col("have").cast(pl.String)),
        done_on=pl.coalesce(pl.col("done_at").dt.strftime("%-d %B %Y"), "standing"),
    )
