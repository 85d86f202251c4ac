"""Files of visits as Ibis tables: CSV or Parquet, one file or a folder of parts."""

import csv
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from jvade.data.engines import RESERVED, Engine, charset_of, readable
from jvade.data.errors import InputError
from jvade.data.files import ABSENT, ENDINGS, KINDS, ends, inside, is_csv, is_packed, unpacked
from jvade.data.text import CHUNK, UTF8, Csv, likely_charset

NUMBER_OR_DATE = re.compile(r"[-+]?\d+([.,]\d+)?|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}.*")


@dataclass(frozen=True)
class Source:
    """A table as it was read.

    Args:
        table: its columns, and the number of each row over all parts, from 1, as `ROW`.
        name: of the file or folder.
        columns: names of all its columns, also those that were not asked for.
        parts: names of the files, in the order of the rows.
        starts: rows before each part.
        text: whether every column is text, as in a CSV file.
        decimal: sign before the decimals of a number that is text.
    """

    table: ir.Table
    name: str
    columns: tuple[str, ...]
    parts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    text: bool = False
    decimal: str = "."

    @property
    def types(self) -> dict[str, dt.DataType]:
        """Type of each of its columns."""
        known = dict(self.table.schema().items())
        return {name: known.get(name, dt.string) for name in self.columns}

    def places(self, rows: Sequence[int]) -> list[str]:
        """Return where each row stands, in words: its number, and its part if there are several."""
        if len(self.starts) < 2:
            return [str(row) for row in rows]
        found = [(row, bisect_right(self.starts, row - 1) - 1) for row in rows]
        return [f"{row - self.starts[part]} of {self.parts[part]}" for row, part in found]


def open_table(
    path: Path | str, engine: Engine, columns: Sequence[str] | None = None, written: Csv = UTF8
) -> Source:
    """Return a file, or a folder of parts, as a table.

    Args:
        path: a .csv, .tsv or .txt, packed as .gz or not (fields parted by comma, semicolon, tab or bar; every
            column is read as text), a .parquet or .pq, or a folder of such files of one kind, taken in the
            order of their names.
        engine: what reads it.
        columns: those that will be looked at, where that is known; a CSV file is read for them alone.
        written: how a CSV file is written.

    Raises:
        InputError: there is no such file, it has another ending, it cannot be read, two columns have one
            name, or the parts do not fit together.
    """
    path = Path(path)
    files, heads = files_of(path, engine, written)
    text = is_csv(files[0])
    read = [name for name in heads[0].columns if not text or columns is None or name in columns]
    taken = [name for name in read if RESERVED.fullmatch(name)]
    if taken:
        what = "a name that columns of our own have; rename it"
        raise InputError([f"column '{name}': {what}" for name in taken], path.name)
    name = path.name if len(files) == 1 else f"{path.name} ({len(files)} parts)"
    plain = [_plain(file, engine, written) for file in files]
    parts = {str(file): original.name for file, original in zip(plain, files, strict=True)}
    with readable(files[0].name, engine, text, parts=parts):
        if text:
            table, rows = engine.csv(plain, list(heads[0].columns), heads[0].delimiter, read)
            starts = _starts(rows)
        else:
            starts = _starts([head.rows for head in heads])
            table = engine.parquet(files, starts)
    for copy in set(plain) - set(files) if engine.eager else ():
        copy.unlink()
    names = tuple(file.name for file in files)
    return Source(table, name, tuple(heads[0].columns), names, starts, text, written.decimal)


def _plain(file: Path, engine: Engine, written: Csv) -> Path:
    """Return a file that an engine can read: one in another encoding is written anew.

    Raises:
        InputError: it is not in this encoding, or the engine does not see what is written here.
    """
    if not is_csv(file):
        return file
    with readable(file.name, engine, True, written):
        plain = written.as_utf8(file, engine.scratch)
    if plain != file and not engine.local:
        problem = f"a Spark on other machines does not see what is made of {written.charset}"
        raise InputError([f"{problem}; save the file as UTF-8"], file.name)
    return plain


@dataclass(frozen=True)
class Head:
    """What the start of a file, or the end of a Parquet file, says about it."""

    columns: dict[str, str]  # type of each
    delimiter: str = ""
    rows: int = 0


def files_of(path: Path, engine: Engine | None = None, written: Csv = UTF8) -> tuple[list[Path], list[Head]]:
    """Return the files of a table, in their order, and what each says of itself.

    Args:
        path: see `open_table`.
        engine: see `open_table`; None where none reads them.
        written: see `open_table`.

    Raises:
        InputError: see `open_table`.
    """
    files, heads = _files(path), []
    for file in files:
        with readable(file.name, engine, is_csv(file), written):
            heads.append(_csv_head(file, written, engine) if is_csv(file) else _parquet_head(file))
    for file, head in zip(files[1:], heads[1:], strict=True):
        _same(heads[0], head, files[0], file)
    return files, heads


def likely(path: Path) -> Csv:
    """Return how a table seems to be written, by the start of its first file; its decimals are not looked at.

    Raises:
        InputError: see `open_table`.
    """
    file = _files(path)[0]
    if not is_csv(file):
        return UTF8
    with readable(file.name, None, True), unpacked(file) as opened:
        return Csv(likely_charset(opened.read(CHUNK)))


def check_out(source: Path | None, out: Path) -> None:
    """Refuse an output in the folder that a table is read from: it would be read as a part of it.

    Raises:
        InputError: what to do.
    """
    if source is not None and source.is_dir() and source.resolve() in (out.resolve(), *out.resolve().parents):
        problem = f"--out: {out} would become a part of the table {source}; name a place elsewhere"
        raise InputError([problem], "settings")


def _files(path: Path) -> list[Path]:
    """Return the file itself, or the parts in a folder."""
    with readable(path.name, None, False):
        try:
            path.stat()
        except (OSError, ValueError) as error:  # the latter of a name with a NUL in it
            if isinstance(error, OSError) and error.errno not in ABSENT:
                raise
            raise InputError(["there is no such file; check the path"], path.name) from None
    if path.is_file():
        if not ends(path, ENDINGS):
            known = " or ".join(ENDINGS)
            raise InputError([f"unsupported kind of file; save the table as {known}"], path.name)
        return [path]
    with readable(path.name, None, False):
        found = inside(path)
    for endings in KINDS:
        parts = [file for file in found if ends(file, endings)]
        if parts and len(parts) < len(found):
            advice = "keep only the parts of one table, all with one ending"
            raise InputError([f"a folder of files of several kinds; {advice}"], path.name)
        if parts:
            return parts
    raise InputError([f"a folder without files ending in {', '.join(ENDINGS)}"], path.name)


def _csv_head(file: Path, written: Csv, engine: Engine | None) -> Head:
    """Read the header of a CSV file."""
    if is_packed(file):
        with unpacked(file) as opened:
            while opened.read(CHUNK):  # to the end, where a checksum is that DuckDB does not look at
                pass
    if written.is_mistaken(file):
        what = f"the text is UTF-8, not {written.charset}; leave {charset_of(engine)} out"
        raise InputError([what], file.name)
    with written.open(file) as opened:
        start = opened.readline()
        if not start.strip():
            raise InputError(["the file is empty; it must start with a line of column names"], file.name)
        delimiter = max(",;\t|", key=start.count)
        header = next(csv.reader(chain([start], opened), delimiter=delimiter))
    # A blank name is the row index that pandas writes.
    names = [name.strip() or f"unnamed {i}" for i, name in enumerate(header, start=1)]
    if any(sign in name for name in names for sign in "\n\r"):
        what = "a column name holds a line break; close its quotes, or write the names in one line"
        raise InputError([what], file.name)
    if any(NUMBER_OR_DATE.fullmatch(name) for name in names):
        # Later messages list the columns: without a header they would list a patient's values.
        what = "the first line holds numbers or dates instead of column names; add a line of column names"
        raise InputError([what], file.name)
    return Head(_unique(names, ["text"] * len(names), file), delimiter)


def _parquet_head(file: Path) -> Head:
    """Read the schema of a Parquet file."""
    with pq.ParquetFile(file) as opened:
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    # How values are packed makes no difference.
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]
    return Head(_unique(schema.names, [str(kind).removeprefix("large_") for kind in kinds], file), rows=rows)


def _unique(names: list[str], kinds: list[str], file: Path) -> dict[str, str]:
    """Return the columns, once no two have one name."""
    small = [name.lower() for name in names]  # engines do not tell capital letters apart
    twice = [name for i, name in enumerate(names) if small[i] in small[:i]]
    if twice:
        raise InputError([f"column '{name}' occurs twice; rename one" for name in twice], file.name)
    return dict(zip(names, kinds, strict=True))


def _same(first: Head, other: Head, first_file: Path, file: Path) -> None:
    """Refuse a part whose columns are not those of the first."""
    problems = []
    if first.delimiter != other.delimiter:
        problems.append(f"its fields are parted by another sign than those of {first_file.name}")
    for name in first.columns | other.columns:
        kinds = first.columns.get(name), other.columns.get(name)
        if None in kinds:
            where = first_file.name if kinds[0] else file.name
            problems.append(f"column '{name}': only in {where}; parts must have the same columns")
        elif kinds[0] != kinds[1]:
            problems.append(f"column '{name}': {kinds[1]} here, {kinds[0]} in {first_file.name}")
    if not problems and first.delimiter and list(first.columns) != list(other.columns):
        problems.append(f"its columns stand in another order than those of {first_file.name}")
    if problems:
        raise InputError(problems, file.name)


def _starts(rows: Sequence[int]) -> tuple[int, ...]:
    return tuple(accumulate(rows[:-1], initial=0))
