"""Where `jvade fit` and `jvade predict` take rows from: visits through a mapping, or a table as it is."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jvade import manifest
from jvade.columns import MIN_ROWS, Columns, Kind, TableError, learn
from jvade.data.engines import EngineSettings, scratch
from jvade.data.engines.settings import CSV_ENDINGS
from jvade.data.errors import InputError
from jvade.data.features import load, write_features
from jvade.data.mapping import read_mapping
from jvade.report.terminal import Terminal

#: Rows in memory at a time, where they are streamed.
BATCH_ROWS = 262_144


@dataclass(frozen=True)
class Rows:
    """Rows to fit a model to.

    Args:
        name: of the file.
        frame: the inputs.
        row: number of each row in the file, from 1.
        kinds: of the inputs, where they are known.
        about: what a model file says of them.
        lines: what a person should see.
    """

    name: str
    frame: pd.DataFrame
    row: np.ndarray
    kinds: Mapping[Hashable, Kind] | None
    about: dict[str, Any]
    lines: list[str]


def check(visits: Path | None, mapping: Path | None, table: Path | None) -> None:
    """Refuse any but one source of rows.

    Raises:
        InputError: what to give.
    """
    if (visits is None) == (table is None):
        raise InputError(["give either --visits with --mapping, or --table"], "settings")
    if (visits is None) != (mapping is None):
        raise InputError(["--visits and --mapping belong together; a --table needs no mapping"], "settings")


def unlike_a_table(table: Path | None, columns: Sequence[str], categories: Sequence[str]) -> list[str]:
    """Return what is wrong with the inputs that a person named of a table, a line for each problem."""
    problems = []
    if table is None and (columns or categories):
        problems.append("--columns, --categories: visits have those of their mapping; these are for --table")
    if len(set(columns)) < len(columns):
        problems.append("--columns: expected each once")
    if columns and (others := set(categories) - set(columns)):
        problems.append(f"--categories: not among --columns: {', '.join(sorted(others))}")
    return problems


def learned(found: Rows) -> Columns:
    """Return what becomes of each column.

    Raises:
        InputError: a column cannot be used as it is, or none tells anything.
    """
    try:
        columns = learn(found.frame, found.kinds)
    except TableError as error:
        raise InputError([str(error)], found.name) from None
    if all(column.silent for column in columns.each):
        problem = f"no column tells anything: each has one value, or fewer than {MIN_ROWS} that are known"
        raise InputError([problem], found.name)
    return columns


def say(found: Rows, terminal: Terminal) -> None:
    """Tell a person what was read."""
    for line in found.lines:
        terminal.say(f"  {line}", "yellow" if line.startswith("warning") else "")


def read(
    visits: Path | None,
    mapping: Path | None,
    table: Path | None,
    columns: Sequence[str],
    categories: Sequence[str],
    tables: EngineSettings,
) -> Rows:
    """Read all rows.

    Args:
        visits: see `FitSettings`, and so are the others.
        mapping: of the visits.
        table: instead of them.
        columns: of the table.
        categories: of the table.
        tables: where the visits are computed.

    Raises:
        InputError: they cannot be used as they are.
    """
    if visits is not None and mapping is not None:
        with scratch(tables) as temp:
            out = temp / "features.parquet"
            found = load(out, write_features(visits, read_mapping(mapping), out, settings=tables))
        about = {
            "source": manifest.fingerprints(visits, mapping),
            "levels": {name: list(codes) for name, codes in found.levels.items()},
        }
        kinds: dict[Hashable, Kind] = {variable.name: variable.kind for variable in found.inputs}
        row = found.frame["row"].to_numpy()
        frame = pd.DataFrame(found.frame[found.names])
        return Rows(visits.name, frame, row, kinds, about, found.account.lines())
    assert table is not None
    frame = _whole(table, columns or None, categories)
    if not len(frame):
        raise InputError(["the table has no rows"], table.name)
    distinct = [
        str(name)
        for name in frame
        if pd.api.types.is_integer_dtype(frame[name].dtype) and len(frame) > 50 and frame[name].is_unique
    ]
    lines = [f"{len(frame):,} rows, {frame.shape[1]} columns: {', '.join(map(str, frame))}"]
    if distinct:
        what = "another value in every row: if they are numbers of something, name the inputs with --columns"
        lines.append(f"warning: {', '.join(distinct)}: {what}")
    about = {"source": {"table": manifest.fingerprint(table)}}
    kinds = dict.fromkeys(categories, "categorical")
    return Rows(table.name, frame, np.arange(1, len(frame) + 1), kinds, about, lines)


@contextmanager
def stream(
    visits: Path | None,
    mapping: Path | None,
    table: Path | None,
    columns: Columns,
    about: dict[str, Any],
    tables: EngineSettings,
    terminal: Terminal,
) -> Iterator[Iterator[tuple[np.ndarray, pd.DataFrame]]]:
    """Give the rows for a model, a part at a time: their numbers in the file, and its columns in its order.

    Raises:
        InputError: they cannot be used as they are, or lack a column of the model.
    """
    names = [str(column.name) for column in columns.each]
    if table is not None:
        texts = [str(column.name) for column in columns.each if column.kind == "categorical"]
        yield _numbered(batches(table, names, texts))
        return
    assert visits is not None
    assert mapping is not None
    if "levels" not in about:
        problem = "the model was not fitted to visits through a mapping; give its columns as a --table"
        raise InputError([problem], mapping.name)
    known = about["source"].get("mapping") or {}
    if manifest.fingerprint(mapping)["sha256"] != known.get("sha256"):
        terminal.say("  warning: this mapping is not the one the model was fitted through", "yellow")
    levels = {name: tuple(codes) for name, codes in about["levels"].items()}
    with scratch(tables) as temp:
        out = temp / "features.parquet"
        with terminal.step("features"):
            found = write_features(visits, read_mapping(mapping), out, levels, tables)
        for line in found.account.lines():
            terminal.say(f"  {line}")
        if absent := [name for name in names if name not in [v.name for v in found.inputs]]:
            problem = (
                f"inputs of the model are missing: {', '.join(absent)}; use the mapping it was fitted through"
            )
            raise InputError([problem], mapping.name)
        yield ((part.pop("row").to_numpy(), part) for part in batches(out, ["row", *names]))


def _numbered(parts: Iterator[pd.DataFrame]) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
    begin = 1
    for part in parts:
        yield np.arange(begin, begin + len(part)), part
        begin += len(part)


def _whole(path: Path, names: Sequence[str] | None, texts: Sequence[str]) -> pd.DataFrame:
    """Return a whole table, whose types are those of all rows."""
    parts = list(batches(path, names, texts, whole=True))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def batches(
    path: Path, names: Sequence[str] | None = None, texts: Sequence[str] = (), whole: bool = False
) -> Iterator[pd.DataFrame]:
    """Yield a table, CSV or Parquet, a part at a time.

    Args:
        path: the file, or a folder of Parquet parts.
        names: columns, in the order wanted; all if None.
        texts: columns that hold text, whatever it looks like.
        whole: a CSV in one part.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    try:
        yield from (
            _csv(path, names, texts, whole) if path.name.endswith(CSV_ENDINGS) else _parquet(path, names)
        )
    except OSError:
        raise InputError(["the file cannot be opened; check the path"], path.name) from None
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(["this is no CSV or Parquet file that can be read"], path.name) from None


def _csv(
    path: Path, names: Sequence[str] | None, texts: Sequence[str], whole: bool
) -> Iterator[pd.DataFrame]:
    there = pd.read_csv(path, nrows=0).columns.tolist()
    if len(there) == 1 and (other := next((sign for sign in ";\t|" if sign in str(there[0])), "")):
        sign = {"\t": "tabs"}.get(other, f"'{other}'")
        problem = f"its columns are parted by {sign}: expected commas, and points in numbers"
        raise InputError([problem], path.name)
    _require([*(names or []), *texts], there, path)
    options: dict[str, Any] = {"usecols": names, "dtype": dict.fromkeys(texts, str)}
    if whole:  # the types are those of all rows
        parts: Any = [pd.read_csv(path, low_memory=False, **options)]
    else:
        parts = pd.read_csv(path, chunksize=BATCH_ROWS, **options)
    for part in parts:
        yield part if names is None else part[list(names)]


def _parquet(path: Path, names: Sequence[str] | None) -> Iterator[pd.DataFrame]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError(["there is no .parquet file in the folder"], path.name)
    for file in files:
        with pq.ParquetFile(file, memory_map=False) as opened:
            _require(names, opened.schema_arrow.names, file)
            columns = None if names is None else list(names)
            for part in opened.iter_batches(BATCH_ROWS, columns=columns):
                frame = part.to_pandas()
                yield frame if columns is None else frame[columns]


def _require(names: Sequence[str] | None, there: Sequence[str], path: Path) -> None:
    if absent := [name for name in dict.fromkeys(names or []) if name not in there]:
        raise InputError([f"column '{name}': not in the table" for name in absent], path.name)
