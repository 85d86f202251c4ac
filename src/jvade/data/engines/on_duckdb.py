"""DuckDB inside this process."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pyarrow.parquet as pq

from jvade.data.engines.settings import FILE, ROW, EngineSettings


class DuckDB:
    """Tables inside this process, in bounded memory."""

    errors = (duckdb.Error,)
    adjustable = True  # whether the person has the flags of `EngineSettings`
    eager = True  # whether a CSV file is read once and for all
    local = True  # whether it sees the files of this machine
    scratch: Path  # folder for files that go with it

    def __init__(self, settings: EngineSettings, temp: str) -> None:
        # Extensions would be fetched from the network. Rows keep their order: it settles ties.
        self.connection = ibis.duckdb.connect(
            autoinstall_known_extensions=False,
            preserve_insertion_order=True,
            memory_limit=settings.memory,
            temp_directory=temp,
        )
        self.connection.raw_sql("SET enable_progress_bar = false")  # else a notebook shows one
        self.count = 0

    def _create(self, what: str, query: str) -> str:
        """Create a table or a view, and return its name."""
        self.count += 1
        name = f"jvade_{self.count}"
        self.connection.raw_sql(f"CREATE TEMP {what} {name} AS {query}")
        return name

    def _named(self, what: str, table: ir.Table) -> ir.Table:
        """Give an expression a name; Ibis knows its columns, so DuckDB is not asked for them."""
        name = self._create(what, self.connection.compile(table))
        return ops.DatabaseTable(name, schema=table.schema(), source=self.connection).to_expr()

    def parquet(self, files: list[Path], starts: Sequence[int]) -> ir.Table:
        """Return Parquet files as one lazy table."""
        # Ibis's own row number would put all rows through one thread; a Parquet file knows its rows.
        row = f"list_extract({list(starts)}::BIGINT[], file_index::BIGINT + 1) + file_row_number + 1"
        read = f"read_parquet({_globs(files)}, hive_partitioning=false)"
        return self.connection.table(self._create("VIEW", f'SELECT *, {row} AS "{ROW}" FROM {read}'))

    def csv(
        self, files: list[Path], names: list[str], delimiter: str, columns: Sequence[str]
    ) -> tuple[ir.Table, list[int]]:
        """Read the named columns of CSV files as text; return them and the number of rows of each file."""
        kinds = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in names)
        wanted = ", ".join(_quoted(name) for name in names if name in columns) or "NULL AS nothing"
        options = f"auto_detect=false, columns={{{kinds}}}, header=true, delim={_text(delimiter)}, "
        options += f"quote='\"', escape='\"', filename='{FILE}', hive_partitioning=false"
        # What the guess of a dialect would get wrong, the header shows; a guess can lose rows.
        name = self._create("TABLE", f'SELECT {wanted}, "{FILE}" FROM read_csv({_globs(files)}, {options})')
        query = f'SELECT "{FILE}", count(*) FROM {name} GROUP BY 1'
        counts: dict[Any, Any] = dict(self.connection.raw_sql(query).fetchall())
        numbered = self._create("VIEW", f'SELECT * EXCLUDE ("{FILE}"), rowid + 1 AS "{ROW}" FROM {name}')
        return self.connection.table(numbered), [counts.get(str(file), 0) for file in files]

    def view(self, table: ir.Table) -> ir.Table:
        """Give a table a name: Ibis no longer writes its expressions out at every use."""
        return self._named("VIEW", table)

    def stage(self, table: ir.Table) -> ir.Table:
        """Compute a table once, to be looked at several times."""
        return self._named("TABLE", table)

    def write(self, table: ir.Table, out: Path) -> None:
        """Write a table as one Parquet file; it must be in the order of its first column, a whole number."""
        self.connection.to_parquet(table, out)
        # DuckDB 2.0.0 on several threads now and then writes the second group of rows before the first.
        if not _in_order(out):
            (threads,) = self.connection.raw_sql("SELECT current_setting('threads')").fetchone() or (1,)
            self.connection.raw_sql("SET threads = 1")
            try:
                self.connection.to_parquet(table, out)
            finally:
                self.connection.raw_sql(f"SET threads = {threads}")
            if not _in_order(out):
                raise AssertionError("the rows were not written in their order")

    def close(self) -> None:
        """Let go of everything."""
        self.connection.disconnect()


def _in_order(out: Path) -> bool:
    """Return whether the first column of a Parquet file rises from row to row."""
    last = -np.inf
    with pq.ParquetFile(out) as opened:
        for group in range(opened.num_row_groups):
            rows = opened.read_row_group(group, [opened.schema_arrow.names[0]]).column(0).to_numpy()
            if len(rows) and (rows[0] <= last or (rows[1:] <= rows[:-1]).any()):
                return False
            last = rows[-1] if len(rows) else last
    return True


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _texts(values: Sequence[object]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _globs(files: Sequence[Path]) -> str:
    """Return files as patterns that match their names alone: DuckDB takes a star in a name for any text."""
    return _texts([re.sub(r"[*?\[]", r"[\g<0>]", str(file)) for file in files])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
