"""A file of visits as an Ibis table: CSV or Parquet, read by an embedded DuckDB."""

import csv
import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from jvade.data.errors import InputError

CSV_ENDINGS = (".csv", ".csv.gz")
NUMBER_OR_DATE = re.compile(r"[-+]?\d+([.,]\d+)?|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*")
ENDINGS = (*CSV_ENDINGS, ".parquet")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever DuckDB says about a broken file into an `InputError`.

    DuckDB quotes the broken line, which may be a patient's, so its message is not passed on.
    """
    try:
        yield
    except (duckdb.Error, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        line = re.search(r"CSV Error on Line: (\d+)", str(error))
        where = f" at line {line[1]}" if line else ""
        if isinstance(error, UnicodeDecodeError) or "utf-8" in str(error).lower():
            what = f"the text is not UTF-8{where}; save the file as UTF-8"
        elif path.name.endswith(CSV_ENDINGS):
            what = (
                f"the file cannot be read as CSV{where}; a line has more or fewer fields than the header, "
                "a quote is left open, or the file is cut short"
            )
        else:
            what = (
                "the file cannot be read as Parquet; it is cut short, damaged or no Parquet: write it again"
            )
        raise InputError([what], path.name) from None


def open_table(path: Path) -> ir.Table:
    """Return the file as a lazy table, on a connection of its own.

    Args:
        path: a .csv or .csv.gz (fields parted by comma, semicolon, tab or bar; every column is read as
            text) or a .parquet file.

    Raises:
        InputError: there is no such file, it has another ending, or it cannot be read.
    """
    if not path.exists():
        raise InputError(["there is no such file; check the path"], path.name)
    if not path.is_file():
        raise InputError([f"a folder, not a file; name one file ending in {', '.join(ENDINGS)}"], path.name)
    if not path.name.endswith(ENDINGS):
        raise InputError([f"unsupported kind of file; save the table as {' or '.join(ENDINGS)}"], path.name)
    # Embedded and in memory; extensions would be fetched from the network.
    connection = ibis.duckdb.connect(autoinstall_known_extensions=False)
    with readable(path):
        if path.name.endswith(CSV_ENDINGS):
            return _open_csv(connection, path)
        return connection.read_parquet(path)


def _open_csv(connection: Backend, path: Path) -> ir.Table:
    """Open a CSV file with the dialect its header shows; letting DuckDB guess can lose rows."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        start = file.readline()
        if not start.strip():
            raise InputError(["the file is empty; it must start with a line of column names"], path.name)
        file.seek(0)
        delimiter = max(",;\t|", key=start.count)
        header = next(csv.reader(file, delimiter=delimiter))
    # A blank name is the row index that pandas writes.
    names = [name.strip() or f"unnamed {i}" for i, name in enumerate(header, start=1)]
    if any(NUMBER_OR_DATE.fullmatch(name) for name in names):
        # Later messages list the columns: without a header they would list a patient's values.
        what = "the first line holds numbers or dates instead of column names; add a line of column names"
        raise InputError([what], path.name)
    small = [name.lower() for name in names]  # DuckDB does not tell capital letters apart
    twice = [name for i, name in enumerate(names) if small[i] in small[:i]]
    if twice:
        raise InputError([f"column '{name}' occurs twice; rename one" for name in twice], path.name)
    return connection.read_csv(
        str(path),
        auto_detect=False,
        columns=dict.fromkeys(names, "VARCHAR"),
        header=True,
        delim=delimiter,
        quote='"',
        escape='"',
    )
