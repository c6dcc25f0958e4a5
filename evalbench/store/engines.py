"""The engines that fold the lake: Polars on this machine, or Spark (``evalbench[spark]``)."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from evalbench.errors import StoreError
from evalbench.schema import RUN_SIGN, TABLES
from evalbench.store.delta import open_table
from evalbench.store.files import TIMES
from evalbench.store.lake import BEFORE_FIRST, Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


ENGINES = ("polars", "spark")


def collect(frame: Any) -> pl.DataFrame:
    """Collect a narwhals or native frame of any engine."""
    native = frame.to_native() if hasattr(frame, "to_native") else frame
    if isinstance(native, pl.DataFrame):
        return native
    if isinstance(native, pl.LazyFrame):
        return native.collect(engine="streaming")
    return pl.DataFrame(native.toArrow())


def start_spark() -> SparkSession:
    """Give the Spark session that runs, or one on this machine; StoreError where it cannot run."""
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise StoreError("Spark is not installed; pip install 'evalbench[spark]'") from error
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {"spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "8"}
    settings |= {"spark.ui.enabled": "false", "spark.sql.execution.arrow.pyspark.enabled": "true"}
    builder = SparkSession.builder.appName("evalbench")
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkRuntimeError as error:
        raise StoreError("Spark needs Java 17 or later; install it, or set JAVA_HOME") from error


def scan_with_spark(
    lake: Lake,
    table: str,
    *,
    surface: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    version: int | None = None,
) -> DataFrame:
    """Read rows with Spark, as :meth:`Lake.scan`, from the files that the table's log names."""
    from pyspark.sql import functions
    from pyspark.sql.pandas.types import from_arrow_schema

    spark, names = start_spark(), TABLES[table].names()
    delta = None if version == BEFORE_FIRST else open_table(lake.place(table), version=version)
    plain = pl.DataFrame(schema=TABLES[table]).to_arrow(compat_level=pl.CompatLevel.oldest())
    rows = spark.createDataFrame([], from_arrow_schema(plain.schema))
    inside = from_arrow_schema(plain.drop_columns("surface").schema)
    for own in sorted({each["surface"] for each in delta.partitions()}) if delta else ():
        if delta and (surface == own or (surface is None and RUN_SIGN not in own)):
            uris = delta.file_uris(file_pruning_predicate=[("surface", "=", own)])
            # Hadoop has another name for the stores that delta-rs calls s3.
            uris = [uri.replace("s3://", "s3a://") for uri in uris]
            read = spark.read.schema(inside).parquet(*uris)
            rows = rows.unionAll(read.withColumn("surface", functions.lit(own)).select(*names))
    moment = functions.col(TIMES[table])
    rows = rows if start is None else rows.filter(moment >= functions.lit(start))
    return rows if end is None else rows.filter(moment < functions.lit(end))
