"""A Spark of the user's."""

import csv
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from jvade.data.engines.settings import FILE, ROW, EngineSettings
from jvade.data.errors import InputError
from jvade.data.files import is_packed
from jvade.data.text import UTF8

# A Spark inside this process has no window for others to look in, and none for it to listen at.
SPARK_ALONE = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
# What the results hang on; put back at the end.
SPARK_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",  # Ibis sets it
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # else such a file cannot be read at all
    "spark.sql.parser.escapedStringLiterals": "false",
}
SPARK_LOGS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")  # of its errors, which may quote rows


class Spark:
    """Tables on a Spark of the user's; files, and `temp`, must lie where its machines see them too.

    A session that runs already is taken as it is; one that we start stays, for the next table. A session in
    this process opens no port to others and writes no log, which may quote rows.
    """

    adjustable = True  # as of DuckDB
    eager = False
    scratch: Path

    def __init__(self, settings: EngineSettings) -> None:
        try:
            from pyspark.errors import PySparkException  # pyright: ignore[reportMissingImports]
            from pyspark.logger import PySparkLogger  # pyright: ignore[reportMissingImports]
            from pyspark.sql import SparkSession  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            what = f"--tables.engine {settings.engine}: pyspark is not installed"
            raise InputError([f"{what}; install it with: pip install 'jvade[spark]'"]) from None
        self.errors: tuple[type[Exception], ...] = (PySparkException,)
        builder: Any = SparkSession.builder.appName("jvade")
        remote = settings.engine.startswith("sc://")
        try:
            self.session: Any = None if remote else SparkSession.getActiveSession()
            if remote:
                self.session = builder.remote(settings.engine).getOrCreate()
            elif not self.session:
                builder = builder.master(settings.engine)
                if settings.engine.startswith("local"):
                    for key, value in SPARK_ALONE.items():
                        builder = builder.config(key, value)
                self.session = builder.getOrCreate()
                self.session.sparkContext.setLogLevel("OFF")
        except Exception as error:  # Java says in many ways that it is absent or the address is wrong
            what = f"--tables.engine {settings.engine}: no Spark answers ({type(error).__name__})"
            raise InputError([f"{what}; check the address, and that Java is installed"]) from None
        if not remote:
            from py4j.protocol import Py4JError  # pyright: ignore[reportMissingImports]

            self.errors += (Py4JError,)
        self.before = {key: self.session.conf.get(key, None) for key in SPARK_SETTINGS}
        self.logs: list[Any] = [PySparkLogger.getLogger(name) for name in SPARK_LOGS]
        for log in self.logs:
            log.addFilter(_silence)
        self.connection = ibis.pyspark.connect(self.session)
        for key, value in SPARK_SETTINGS.items():
            self.session.conf.set(key, value)
        self.local = settings.engine.startswith("local")
        self.views: list[str] = []
        self.held: list[Any] = []

    def _named(self, frame: Any) -> ir.Table:
        name = f"jvade_{uuid4().hex}"
        frame.createOrReplaceTempView(name)
        self.views.append(name)
        return self.connection.table(name)

    def _held(self, frame: Any) -> Any:
        frame = frame.persist()
        self.held.append(frame)
        return frame

    def parquet(self, files: list[Path], starts: Sequence[int]) -> ir.Table:
        """Return Parquet files as one lazy table."""
        from pyspark.sql import functions as f  # pyright: ignore[reportMissingImports]

        schema = pq.read_schema(files[0])
        kinds = dict(zip(schema.names, schema.types, strict=True))
        times = [name for name, kind in kinds.items() if pa.types.is_time(kind)]
        if times:
            advice = "write the time of day as text, or use the engine duckdb"
            raise InputError(
                [f"column '{name}': a type Spark cannot read; {advice}" for name in times], files[0].name
            )
        frame = self.session.read.parquet(*map(_address, files))
        known = frame.columns
        file, index = f.col("_metadata.file_path"), f.col("_metadata.row_index")
        before = {str(path.resolve()): start for path, start in zip(files, starts, strict=True)}
        found = [row[0] for row in frame.select(file).distinct().collect()]
        row = _lookup({address: before[_path(address)] + 1 for address in found}, file) + index
        frame = frame.select("*", row.cast("long").alias(ROW))
        for name in known:  # pandas counts nanoseconds, which Spark reads as plain numbers
            if pa.types.is_timestamp(kinds[name]) and kinds[name].unit == "ns":
                moment = f.timestamp_micros(f.expr(f"{_ticked(name)} div 1000"))
                frame = frame.withColumn(name, moment.cast("timestamp_ntz"))
        table = self._named(frame)
        zoned = {
            name: dt.Timestamp(timezone="UTC", scale=6)
            for name, kind in kinds.items()
            if pa.types.is_timestamp(kind) and kind.tz
        }
        node: Any = table.op()  # Ibis does not ask Spark whether a moment has a time zone
        return node.copy(schema=ibis.schema(dict(node.schema.items()) | zoned)).to_expr()

    def csv(
        self, files: list[Path], names: list[str], delimiter: str, columns: Sequence[str]
    ) -> tuple[ir.Table, list[int]]:
        """Read the named columns of CSV files as text; return them and the number of rows of each file."""
        from pyspark.sql import functions as f  # pyright: ignore[reportMissingImports]
        from pyspark.sql.types import (  # pyright: ignore[reportMissingImports]
            StringType,
            StructField,
            StructType,
        )

        odd, file, index = "jvade odd", FILE, "jvade index"
        reader = self.session.read.options(
            header=True, sep=delimiter, quote='"', escape='"', multiLine=True, ignoreLeadingWhiteSpace=True,
            mode="PERMISSIVE", unescapedQuoteHandling="RAISE_ERROR", columnNameOfCorruptRecord=odd,
        )  # fmt: skip
        reader = reader.schema(StructType([StructField(name, StringType()) for name in [*names, odd]]))
        wanted = [f.col(_ticked(name)) for name in names if name in columns]
        # An open quote runs to the end of the file; a byte that is no text is read as U+FFFD.
        strange = [column.contains("\ufffd") for column in wanted] + [
            f.col(_ticked(names[-1])).contains("\n")
        ]
        strange = [f.coalesce(test, f.lit(False)) for test in strange]
        frame = reader.csv([_address(path) for path in files]).select(
            *wanted,
            (f.col(_ticked(odd)).isNotNull() | reduce(or_, strange)).alias(odd),
            f.col("_metadata.file_path").alias(file),
            f.monotonically_increasing_id().alias(index),  # without gaps in a file, which is never split
        )
        frame = self._held(frame)
        try:
            grouped = frame.groupBy(file).agg(f.count("*"), f.min(index), f.max(odd)).collect()
        except self.errors:
            for path in files:
                _check_csv(path, len(names), delimiter)
            raise
        found = {_path(address): (address, *rest) for address, *rest in grouped}
        rows, numbers = [], {}
        for path in files:  # Spark takes the largest file first: rows are numbered by file, then in it
            address, count, least, suspect = found.get(str(path.resolve()), ("", 0, 0, False))
            if suspect:
                _check_csv(path, len(names), delimiter)
            numbers[address] = sum(rows) + 1 - least
            rows.append(count)
        row = _lookup(numbers, f.col(_ticked(file))) + f.col(_ticked(index))
        return self._named(frame.select(*wanted, row.cast("long").alias(ROW))), rows

    def view(self, table: ir.Table) -> ir.Table:
        """Give a table a name: Ibis no longer writes its expressions out at every use."""
        return self._named(self.session.sql(self.connection.compile(table)))

    def stage(self, table: ir.Table) -> ir.Table:
        """Compute a table once, to be looked at several times."""
        return self._named(self._held(self.session.sql(self.connection.compile(table))))

    def write(self, table: ir.Table, out: Path) -> None:
        """Write a table as a new folder of Parquet files, in the order of their names."""
        if out.exists():
            raise InputError(["there is such a file or folder already; Spark writes a new one"], out.name)
        self.session.sql(self.connection.compile(table)).write.parquet(f"file://{out.resolve()}")

    def close(self) -> None:
        """Let go of everything but the session: the user may work in it."""
        for log in self.logs:
            log.removeFilter(_silence)
        with suppress(*self.errors):
            for name in self.views:
                self.session.catalog.dropTempView(name)
            for frame in self.held:
                frame.unpersist()
            for key, value in self.before.items():
                if value is None:
                    self.session.conf.unset(key)
                else:
                    self.session.conf.set(key, value)


def _silence(record: logging.LogRecord) -> bool:
    """Keep a record out of a log."""
    del record
    return False


def _address(path: Path) -> str:
    """Return a path as Spark wants it, to whom some signs stand for any file."""
    if path.name[0] in "._":
        raise InputError(["Spark passes over what begins with a dot or an underscore; rename it"], path.name)
    if is_packed(path) and path.suffix != ".gz":
        raise InputError(["Spark unpacks .gz in small letters only; rename it"], path.name)
    return "file://" + re.sub(r"([\\\[\]{}*?])", r"\\\1", str(path.resolve()))


def _path(address: str) -> str:
    """Return the path of a file that Spark names."""
    return "/" + unquote(address.removeprefix("file:")).lstrip("/")


def _ticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _lookup(numbers: dict[str, int], key: Any) -> Any:
    """Return the numbers of the keys in a column."""
    from pyspark.sql import functions as f  # pyright: ignore[reportMissingImports]

    known = f.create_map(*(f.lit(value) for pair in numbers.items() for value in pair))
    return known[key] if numbers else f.lit(0)


def _check_csv(path: Path, count: int, delimiter: str) -> None:
    """Read a CSV file whose rows look odd to Spark, which forgives much and tells little."""
    with UTF8.open(path) as opened:
        reader = csv.reader(opened, delimiter=delimiter, strict=True, skipinitialspace=True)
        line = 1
        try:
            for fields in reader:
                if (fields and fields[count:] != [] and fields[count:] != [""]) or 0 < len(fields) < count:
                    raise csv.Error
                line = reader.line_num + 1
        except csv.Error:
            raise csv.Error(f"CSV Error on Line: {line}") from None
