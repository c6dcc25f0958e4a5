"""The report of one notebook run: what it says, draws and keeps for others to read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from IPython.display import HTML, Markdown, display

from evalbench.label.annotation.markdown import visible
from evalbench.operate.quarter import with_severity
from evalbench.report.front import Front
from evalbench.report.glossary import TABLES
from evalbench.report.sentences import name_rows
from evalbench.report.tables import set_table
from evalbench.snapshot import Snapshot
from evalbench.store.tabular import quote_formula

_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


@dataclass(frozen=True)
class Report:
    """What a notebook leaves in its folder: ``result.json`` and the tables, under their names.

    Rows that speak of a failure mode or an evaluator get its ``name`` or ``who``, as the snapshot's
    codebook has them.
    """

    view: Snapshot = field(repr=False)  # the keys of an object store are in its settings
    folder: str | Path
    tables: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    anchors: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def say(self, markdown: str) -> None:
        """Show a text."""
        display(Markdown(markdown))

    def charts(
        self,
        draw: Callable[..., Any],
        frame: pl.DataFrame,
        *,
        by: Sequence[str] = ("surface",),
        empty: str = "",
        **options: Any,
    ) -> None:
        """Draw one chart for each value of the columns ``by``; say ``empty`` of no rows."""
        if frame.is_empty() and empty:
            self.say(empty)
        named = name_rows(frame, self.view)
        for part in named.partition_by(by, maintain_order=True) if named.height else ():
            display(draw(part, **options))

    def table(
        self,
        name: str,
        frame: pl.DataFrame,
        *,
        by: str | Sequence[str] = (),
        empty: str = "None.",
        first: int | None = None,
        keep: bool = True,
        level: float | None = None,
    ) -> None:
        """Show the table of this name in the glossary and keep all of its columns and rows.

        The values of the columns ``by`` become headings between the rows, of which the page shows
        the ``first``, all without it; ``empty`` is said of no rows. ``keep`` is false where they
        are kept under another name already; ``level`` is that of the intervals where it is not the
        settings'. Severities that the frame lacks are looked up, and put in order.
        """
        named = name_rows(frame, self.view)
        if "severity" in TABLES[name] and "severity" not in frame.columns:
            named = with_severity(named, self.view.codebook.to_frame())
        if keep:
            self.tables[name] = named
        if named.is_empty():
            return self.say(empty)
        groups = [by] if isinstance(by, str) else list(by)
        level = level or self.view.ws.settings.level
        how: Any = {"by": groups, "level": level, "anchors": self.anchors}
        display(set_table(name, named.head(first or named.height), **how))

    def front(self, page: Front) -> None:
        """Show the first page, keep its tables, and let failures lead to their examples."""
        self.keep(**page.tables)
        self.anchors.update(page.anchors)
        shown = {"text/html": page.to_html(), "text/plain": page.headline}
        display(shown, raw=True, metadata={"title": visible(page.title)})

    def examples(self, page: Front) -> None:
        """Show the sessions that the failures of the page lead to."""
        display(HTML(page.to_html("examples")))

    def keep(self, **frames: pl.DataFrame) -> None:
        """Keep tables that the page does not show, or shows as a chart."""
        self.tables.update(frames)

    def attach(self, **texts: str) -> None:
        """Write texts for other programs beside the report: ``memo_md`` becomes ``memo.md``."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (Path(self.folder) / ".".join(name.rsplit("_", 1))).write_text(text, encoding="utf-8")

    def write(self) -> None:
        """Write ``result.json``, each table as a list of its rows, and ``tables/{name}.csv``.

        ``pins.json`` says what was read: what a notebook judged first moves the pin of verdicts.
        Overrides of gates stand at the end of every report until they are closed.
        """
        open_ones = self.view.overrides.filter(pl.col("standing") != "closed")
        if open_ones.height:
            self.say("## Overrides that stand")
            self.table("overrides", open_ones)
        folder = Path(self.folder) / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        rows = {name: frame.to_dicts() for name, frame in self.tables.items()}
        write_json(folder.parent / "result.json", rows)
        write_json(folder.parent / "pins.json", self.view.pins)
        for name, frame in self.tables.items():
            lists = pl.selectors.by_dtype(*map(pl.List, (pl.String, pl.Int64, pl.Float64)))
            items = lists.cast(pl.List(pl.String)).list.eval(pl.element().fill_null(""))
            flat = frame.with_columns(items.list.join("; "), pl.selectors.float().fill_nan(None))
            texts = pl.selectors.string().map_elements(quote_formula, return_dtype=pl.String)
            flat = flat.with_columns(texts)
            flat.write_csv(folder / f"{name}.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")


def write_json(path: Path, value: object) -> None:
    """Write JSON that is the same bytes for the same value: sorted keys, shortest floats.

    ``nan`` is written as null; times are UTC.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value, option=_JSON))
