"""Where tables are computed: DuckDB inside this process, or a Spark of the user's."""

import csv
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from jvade.data.errors import InputError

CSV_ENDINGS = (".csv", ".csv.gz")
ROW = "jvade row number"  # a space, which no name in a mapping may hold
MEMORY = re.compile(r"\d+(\.\d+)?\s*[KMGT]i?B", re.IGNORECASE)


@dataclass(frozen=True)
class EngineSettings:
    """Where tables are computed.

    Args:
        engine: "duckdb", which runs inside this process, or the URL of a Spark: local[4], spark://HOST:7077
            or sc://HOST:15002 (needs the extra `spark`).
        memory: what DuckDB may hold at a time, for example 800MB or 4GB; the rest spills to `temp`.
        temp: folder for what spills; the system's own if not given.
    """

    engine: str = "duckdb"
    memory: str = "1GB"
    temp: Path | None = None


class DuckDB:
    """Tables inside this process, in bounded memory."""

    errors = (duckdb.Error,)

    def __init__(self, settings: EngineSettings, temp: str) -> None:
        # Extensions would be fetched from the network. Rows keep their order: it settles ties.
        self.connection = ibis.duckdb.connect(
            autoinstall_known_extensions=False,
            preserve_insertion_order=True,
            memory_limit=settings.memory,
            temp_directory=temp,
        )
        self.count = 0
        self.temp = temp

    def _create(self, what: str, query: str) -> ir.Table:
        self.count += 1
        name = f"jvade_{self.count}"
        self.connection.raw_sql(f"CREATE TEMP {what} {name} AS {query}")
        return self.connection.table(name)

    def parquet(self, files: list[Path], starts: Sequence[int]) -> ir.Table:
        """Return Parquet files as one lazy table."""
        # Ibis's own row number would put all rows through one thread; a Parquet file knows its rows.
        row = f"list_extract({list(starts)}::BIGINT[], file_index::BIGINT + 1) + file_row_number + 1"
        return self._create("VIEW", f'SELECT *, {row} AS "{ROW}" FROM read_parquet({_texts(files)})')

    def csv(
        self, files: list[Path], names: list[str], delimiter: str, columns: Sequence[str]
    ) -> tuple[ir.Table, list[int]]:
        """Read the named columns of CSV files as text; return them and the number of rows of each file."""
        kinds = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in names)
        wanted = ", ".join(_quoted(name) for name in names if name in columns) or "NULL AS nothing"
        options = f"auto_detect=false, columns={{{kinds}}}, header=true, delim={_text(delimiter)}, "
        options += "quote='\"', escape='\"', filename=true"
        # What the guess of a dialect would get wrong, the header shows; a guess can lose rows.
        table = self._create(
            "TABLE", f"SELECT {wanted}, filename AS jvade_file FROM read_csv({_texts(files)}, {options})"
        )
        name = table.get_name()
        query = f"SELECT jvade_file, count(*) FROM {name} GROUP BY 1"
        counts: dict[Any, Any] = dict(self.connection.raw_sql(query).fetchall())
        numbered = self._create("VIEW", f'SELECT * EXCLUDE (jvade_file), rowid + 1 AS "{ROW}" FROM {name}')
        return numbered, [counts.get(str(file), 0) for file in files]

    def view(self, table: ir.Table) -> ir.Table:
        """Give a table a name: Ibis no longer writes its expressions out at every use."""
        return self._create("VIEW", str(ibis.to_sql(table, dialect="duckdb")))

    def stage(self, table: ir.Table) -> ir.Table:
        """Compute a table once, to be looked at several times."""
        out = Path(self.temp) / f"staged_{self.count}.parquet"
        query = ibis.to_sql(table, dialect="duckdb")
        self.connection.raw_sql(f"COPY ({query}) TO {_text(out)} (FORMAT parquet)")
        return self.read_back(out)

    def write(self, table: ir.Table, out: Path) -> None:
        """Write a table as one Parquet file."""
        self.connection.to_parquet(table, out)

    def read_back(self, out: Path) -> ir.Table:
        """Return a table that `write` wrote."""
        return self._create("VIEW", f"SELECT * FROM read_parquet({_texts([out])})")

    def close(self) -> None:
        """Let go of everything."""
        self.connection.disconnect()


class Spark:
    """Tables on a Spark of the user's."""

    def __init__(self, settings: EngineSettings) -> None:
        try:
            from pyspark.errors import PySparkException  # pyright: ignore[reportMissingImports]
            from pyspark.sql import SparkSession  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError:
            advice = "install it with: pip install 'jvade[spark]'"
            raise InputError([f"--engine {settings.engine}: pyspark is not installed; {advice}"]) from None
        builder: Any = SparkSession.builder
        remote = settings.engine.startswith("sc://")
        builder = builder.remote(settings.engine) if remote else builder.master(settings.engine)
        self.errors = (PySparkException,)
        try:
            self.session = builder.appName("jvade").getOrCreate()
        except Exception as error:  # Java says in many ways that it is absent or the address is wrong
            what = f"--engine {settings.engine}: no Spark answers ({type(error).__name__})"
            raise InputError([f"{what}; check the address, and that Java is installed"]) from None
        self.connection = ibis.pyspark.connect(self.session)

    def _numbered(self, frame: Any) -> ir.Table:
        from pyspark.sql import Window, functions  # pyright: ignore[reportMissingImports]

        order = Window.orderBy(functions.monotonically_increasing_id())
        name = f"jvade_{uuid4().hex}"
        frame.withColumn(ROW, functions.row_number().over(order).cast("long")).createOrReplaceTempView(name)
        return self.connection.table(name)

    def parquet(self, files: list[Path], starts: Sequence[int]) -> ir.Table:
        """Return Parquet files as one lazy table."""
        del starts  # rows are numbered as Spark reads them
        return self._numbered(self.session.read.parquet(*(str(file) for file in files)))

    def csv(
        self, files: list[Path], names: list[str], delimiter: str, columns: Sequence[str]
    ) -> tuple[ir.Table, list[int]]:
        """Return CSV files as one lazy table of texts."""
        reader = self.session.read.options(
            header=True, sep=delimiter, quote='"', escape='"', multiLine=True, mode="FAILFAST"
        )
        frame = reader.schema(", ".join(f"`{name}` string" for name in names))
        frame = frame.csv([str(file) for file in files])
        return self._numbered(frame.select([f"`{name}`" for name in names if name in columns])), []

    def view(self, table: ir.Table) -> ir.Table:
        """Give a table a name: Ibis no longer writes its expressions out at every use."""
        return self.connection.create_view(f"jvade_{uuid4().hex}", table)

    def stage(self, table: ir.Table) -> ir.Table:
        """Compute a table once, to be looked at several times."""
        return table.cache()

    def write(self, table: ir.Table, out: Path) -> None:
        """Write a table as a folder of Parquet files, in the order of their names."""
        self.connection.to_parquet(table, out)

    def read_back(self, out: Path) -> ir.Table:
        """Return a table that `write` wrote."""
        return self.connection.read_parquet(out)

    def close(self) -> None:
        """Do nothing: the session may be one the user works in."""


Engine = DuckDB | Spark


@contextmanager
def connect(settings: EngineSettings | None = None) -> Iterator[Engine]:
    """Start the engine; what it spilled to disk is gone afterwards.

    Raises:
        InputError: the settings make no sense, or there is no such engine.
    """
    settings = settings or EngineSettings()
    if not MEMORY.fullmatch(settings.memory):
        raise InputError([f"--memory: expected a size such as 800MB or 4GB, got '{settings.memory}'"])
    if settings.temp and not settings.temp.is_dir():
        raise InputError(["--temp: there is no such folder; make it, or leave the flag out"])
    if settings.engine != "duckdb" and not re.match(r"local(\[|$)|spark://|sc://|yarn", settings.engine):
        known = "duckdb, local[4], spark://HOST:7077 or sc://HOST:15002"
        raise InputError([f"--engine: expected {known}, got '{settings.engine}'"])
    with tempfile.TemporaryDirectory(prefix="jvade-", dir=settings.temp) as temp:
        engine = DuckDB(settings, temp) if settings.engine == "duckdb" else Spark(settings)
        try:
            yield engine
        finally:
            engine.close()


@contextmanager
def readable(name: str, engine: Engine) -> Iterator[None]:
    """Turn whatever the engine says about a broken file into an `InputError`.

    It may quote the broken line, which may be a patient's, so its message is not passed on.
    """
    failures = (*engine.errors, pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error)
    try:
        yield
    except failures as error:
        text = str(error)
        if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)):
            what = "the table does not fit: raise --memory, or give --temp a folder with more room"
        else:
            line = re.search(r"CSV Error on Line: (\d+)", text)
            where = f" at line {line[1]}" if line else ""
            if isinstance(error, UnicodeError) or "utf-8" in text.lower():
                what = f"the text is not UTF-8{where}; save the file as UTF-8"
            elif name.endswith(CSV_ENDINGS):
                what = (
                    f"the file cannot be read as CSV{where}; a line has more or fewer fields than the header"
                    ", a quote is left open, or the file is cut short"
                )
            else:
                why = "it is cut short, damaged or no Parquet: write it again"
                what = f"the file cannot be read as Parquet; {why}"
        raise InputError([what], name) from None


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _texts(values: Sequence[object]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
