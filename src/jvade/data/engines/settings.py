"""Which engine, and the names that all of them give to columns of our own."""

import re
from dataclasses import dataclass
from pathlib import Path

ROW = "jvade row number"  # a space, which no name in a mapping may hold
FILE = "jvade file"
#: What we, and DuckDB, call columns of our own: those of a file cannot be called so.
RESERVED = re.compile(r"jvade .*|rowid|file_index|file_row_number", re.IGNORECASE)


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
