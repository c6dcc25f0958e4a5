"""The fold of spans into sessions as one would write it by hand, in lazy Polars and in pandas."""

from __future__ import annotations

import pandas as pd
import polars as pl

from evalbench.schema import SESSION

KEY = ["surface", "session_id"]
ORDER = ["started_at", "span_id"]
NAMES = ["user_key", "group_key", "release", "environment", "segments"]
MEASURES = ["prompt_tokens", "completion_tokens", "cost_usd"]
FLAGS = ["regenerated", "abandoned", "escalated", "refused", "reported"]
LAST = ["outcome", "thumbs", "stars", "confidence"]
TALKING = ["llm", "chain", "agent", "other"]


def fold_with_polars(spans: pl.LazyFrame) -> pl.LazyFrame:
    tool, llm = pl.col("kind") == "tool", pl.col("kind") == "llm"
    root = pl.col("parent_id").is_null() & pl.col("kind").is_in(TALKING)
    wrapper = pl.col("kind").is_in(["agent", "chain"])
    latency = pl.duration(microseconds=(pl.col("latency_ms") * 1000).round())
    asked = pl.col("input").is_not_null()
    answered = pl.col("output").is_not_null()
    calls = pl.struct("tool_name", "tool_arguments").filter(
        tool & pl.col("tool_name").is_not_null() & pl.col("tool_arguments").is_not_null()
    )
    call = ["tool_name", "tool_arguments"]
    retries = (
        spans.filter(tool)
        .drop_nulls(call)
        .group_by(KEY)
        .agg(n_retries=calls.len().cast(pl.Int64) - calls.n_unique().cast(pl.Int64))
    )

    def total(value, condition):
        chosen = value.filter(condition)
        return pl.when(chosen.count() > 0).then(chosen.sum())

    def of(column, condition):
        return (
            pl.col(column).filter(condition).sort_by([pl.col(o).filter(condition) for o in ORDER])
        )

    turns = (root & answered).sum()
    return (
        spans.group_by(KEY)
        .agg(
            pl.col(NAMES).max(),
            pl.col("started_at").min(),
            (pl.col("started_at") + latency)
            .fill_null(pl.col("started_at"))
            .max()
            .alias("ended_at"),
            pl.when(turns > 0).then(turns).otherwise((llm & answered).sum()).alias("n_turns"),
            pl.len().alias("n_spans"),
            tool.sum().alias("n_tool_calls"),
            (tool & (pl.col("status") == "error")).sum().alias("n_tool_errors"),
            *(
                pl.coalesce(total(pl.col(name), ~wrapper), total(pl.col(name), wrapper)).alias(name)
                for name in MEASURES
            ),
            pl.col("latency_ms").quantile(0.95, "linear").alias("latency_p95_ms"),
            pl.coalesce(of("input", root & asked).first(), of("input", llm & asked).first()).alias(
                "first_input"
            ),
            pl.coalesce(
                of("output", root & answered).last(), of("output", llm & answered).last()
            ).alias("final_output"),
            *(of(name, pl.col(name).is_not_null()).last() for name in LAST),
            *(pl.col(name).max() for name in FLAGS),
            pl.col("schema_valid").min(),
            total(pl.col("edited_chars"), True).alias("edited_chars"),
        )
        .join(retries, on=KEY, how="left")
        .with_columns(
            pl.col("n_retries").fill_null(0), group_key=pl.coalesce("group_key", "user_key")
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SESSION.items())
    )


NEEDED = [
    *("session_id", "span_id", "parent_id", "kind", "status", "started_at", "latency_ms"),
    *("input", "output", "tool_name", "tool_arguments", "edited_chars", "schema_valid"),
    *(NAMES + MEASURES + FLAGS + LAST),
]


def fold_with_pandas(spans: pd.DataFrame) -> pd.DataFrame:
    spans = spans.sort_values(ORDER, kind="stable")
    tool, llm = spans["kind"] == "tool", spans["kind"] == "llm"
    root = spans["parent_id"].isna() & spans["kind"].isin(TALKING)
    wrapper = spans["kind"].isin(["agent", "chain"])
    spans = spans.assign(
        ended_at=spans["started_at"] + pd.to_timedelta(spans["latency_ms"], unit="ms"),
        n_tool_calls=tool,
        n_tool_errors=tool & (spans["status"] == "error"),
        root_turn=root & spans["output"].notna(),
        llm_turn=llm & spans["output"].notna(),
    )
    sessions = spans.groupby("session_id", sort=False)
    folded = sessions.agg(
        **{name: (name, "last") for name in [*NAMES, *LAST]},
        **{name: (name, "max") for name in FLAGS},
        started_at=("started_at", "min"),
        ended_at=("ended_at", "max"),
        n_spans=("span_id", "size"),
        n_tool_calls=("n_tool_calls", "sum"),
        n_tool_errors=("n_tool_errors", "sum"),
        root_turns=("root_turn", "sum"),
        llm_turns=("llm_turn", "sum"),
        schema_valid=("schema_valid", "min"),
        edited_chars=("edited_chars", "sum"),
    )
    folded["latency_p95_ms"] = sessions["latency_ms"].quantile(0.95)
    inner = spans[~wrapper].groupby("session_id", sort=False)[MEASURES].sum(min_count=1)
    outer = spans[wrapper].groupby("session_id", sort=False)[MEASURES].sum(min_count=1)
    folded[MEASURES] = inner.reindex(folded.index).fillna(outer.reindex(folded.index))
    calls = spans[tool].groupby(["session_id", "tool_name", "tool_arguments"]).size() - 1
    folded["n_retries"] = calls.groupby(level=0).sum().reindex(folded.index).fillna(0)
    for column, name, which in (
        ("input", "first_input", "first"),
        ("output", "final_output", "last"),
    ):
        of_root, of_llm = (
            getattr(spans[condition].groupby("session_id", sort=False)[column], which)()
            for condition in (root, llm)
        )
        folded[name] = of_root.reindex(folded.index).fillna(of_llm.reindex(folded.index))
    folded["n_turns"] = folded["root_turns"].where(folded["root_turns"] > 0, folded["llm_turns"])
    return folded.reset_index()
