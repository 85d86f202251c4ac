"""Where `jvade fit`, `predict` and `sweep` take rows from: visits through a mapping, or a table as it is."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from jvade import manifest
from jvade.columns import MANY_UNKNOWN, MIN_ROWS, Columns, Kind, TableError, learn
from jvade.data.engines import EngineSettings, readable, scratch
from jvade.data.errors import InputError, closest
from jvade.data.features import load, write_features
from jvade.data.files import is_csv, is_packed
from jvade.data.mapping import read_mapping
from jvade.data.source import Head, check_out, files_of
from jvade.data.text import PARTED, UTF8, Csv, parts_thousands, shapes
from jvade.data.tidy import NUMBER, WITH_COMMA, WORDS
from jvade.report.terminal import Terminal

#: Rows in memory at a time, where they are streamed.
BATCH_ROWS = 262_144
#: Rows from which a column of whole numbers that are all different looks like a number of something.
DISTINCT_ROWS = 50
#: What the account calls the share of visits that are the first of their patient, and by how much it has to
#: lie above that of the fit for a person to be told.
FIRST, MANY_FIRST = "share of first visits", 0.2


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows that a person names: visits through a mapping, or a table as it is.

    Args:
        visits: your visit table: CSV, Parquet, or a folder of parts; needs --mapping.
        mapping: TOML file that says which of its columns plays which part; `jvade mapping init` drafts one.
        table: instead of visits, any table whose columns are the inputs: CSV, Parquet, or a folder of parts.
        columns: the inputs among the columns of --table; all if not given.
        categories: those of them that are categories, though they look like numbers: codes.
        codes: 0/1 columns that are the codes of one variable, side by side, of which a row has one at most,
            as VARIABLE=COLUMN,COLUMN or VARIABLE=PREFIX*: "diagnosis=dx_*". Where likelihoods are by kind,
            they share a softmax.
        csv: how the CSV files of --table are written; a mapping says it of visits.
        tables: where tables are computed.
    """

    visits: Path | None = None
    mapping: Path | None = None
    table: Path | None = None
    columns: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    csv: Csv = UTF8
    tables: EngineSettings = field(default_factory=EngineSettings)

    def problems(self, likelihood: str) -> list[str]:
        """Return what is wrong with the inputs that are named of a table, a line for each problem."""
        columns, categories, found = self.columns, self.categories, []
        if self.table is None and (columns or categories or self.codes):
            what = "--columns, --categories, --codes"
            found.append(f"{what}: visits have those of their mapping; these are for --table")
        if len(set(columns)) < len(columns):
            found.append("--columns: expected each once")
        if columns and (others := set(categories) - set(columns)):
            found.append(f"--categories: not among --columns: {', '.join(sorted(others))}")
        if self.codes and likelihood != "by-kind":
            what = "codes share a softmax where likelihoods are by kind"
            found.append(f"--codes: {what}, here they are {likelihood}; add --likelihood by-kind")
        for one in self.codes:
            variable, names = _named(one)
            if not variable or not all(names):
                expected = "expected VARIABLE=COLUMN,COLUMN or VARIABLE=PREFIX*"
                found.append(f"--codes: {expected}, got {one!r}")
        return found

    def read(self) -> "Rows":
        """Read all rows.

        Raises:
            InputError: they cannot be used as they are.
        """
        if self.visits is not None and self.mapping is not None:
            return _of_visits(self.visits, self.mapping, self.tables)
        assert self.table is not None
        return _of_table(self.table, self.columns, self.categories, self.codes, self.csv)


@dataclass(frozen=True)
class Rows:
    """Rows to fit a model to.

    Args:
        name: of the file.
        frame: the inputs.
        row: number of each row in the file, from 1.
        kinds: of the inputs, where they are known.
        codes: the variable that an input is one code of, likewise.
        about: what a model file says of them.
        lines: what a person should see.
    """

    name: str
    frame: pd.DataFrame
    row: np.ndarray
    kinds: Mapping[Hashable, Kind] | None
    codes: Mapping[Hashable, str] | None
    about: dict[str, Any]
    lines: list[str]


def check(visits: Path | None, mapping: Path | None, table: Path | None, written: Csv, out: Path) -> None:
    """Refuse any but one source of rows, and an output that would become a part of it.

    Raises:
        InputError: what to give.
    """
    if (visits is None) == (table is None):
        raise InputError(["give either --visits with --mapping, or --table"], "settings")
    if (visits is None) != (mapping is None):
        raise InputError(["--visits and --mapping belong together; a --table needs no mapping"], "settings")
    if table is None and written != UTF8:
        raise InputError(["--csv: visits are written as their mapping says; this is for --table"], "settings")
    written.check()
    if table is not None and table.is_file() and not is_csv(table) and written != UTF8:
        raise InputError(["--csv: this is no CSV; leave --csv.charset and --csv.decimal out"], table.name)
    check_out(visits or table, out)


def learned(found: Rows) -> Columns:
    """Return what becomes of each column.

    Raises:
        InputError: a column cannot be used as it is, or none tells anything.
    """
    try:
        columns = learn(found.frame, found.kinds, found.codes)
        columns.check()
    except TableError as error:
        raise InputError(error.problems, found.name) from None
    return columns


def say(found: Rows, terminal: Terminal) -> None:
    """Tell a person what was read."""
    for line in found.lines:
        terminal.say(f"  {line}", "yellow" if line.startswith("warning") else "")


def say_columns(source: Source, found: Rows, columns: Columns, terminal: Terminal) -> None:
    """Tell a person what each column of a table is taken for, and which tell little or nothing."""
    if source.table is not None:
        _say_kinds(columns, terminal)
    for name, n in columns.unknown(found.frame).items():
        if n > MANY_UNKNOWN * len(found.frame):
            share = f"{100 * n / len(found.frame):.0f} % of the rows"
            what = f"have a category of fewer than {MIN_ROWS} rows, and count as having none"
            terminal.say(f"  warning: column '{name}': {share} {what}", "yellow")
    if columns.silence:
        terminal.say(f"  warning: {columns.silence}", "yellow")


def _say_kinds(columns: Columns, terminal: Terminal) -> None:
    for kind, words in (("numeric", "numbers"), ("binary", "0/1"), ("categorical", "categories")):
        if names := [str(one.name) for one in columns.each if one.kind == kind and not one.code_of]:
            terminal.say(f"  {words}: {', '.join(names)}")
    for variable in dict.fromkeys(column.code_of for column in columns.each if column.code_of):
        names = [str(column.name) for column in columns.each if column.code_of == variable]
        terminal.say(f"  codes of {variable}: {', '.join(names)}")


def _of_visits(visits: Path, mapping: Path, tables: EngineSettings) -> Rows:
    with scratch(tables) as temp:
        out = temp / "features.parquet"
        # A rare code may be a person, and the model keeps its name.
        made = write_features(visits, read_mapping(mapping), out, settings=tables, min_rows=MIN_ROWS)
        found = load(out, made)
    about = {
        "source": manifest.fingerprints(visits, mapping),
        "levels": {name: list(codes) for name, codes in found.levels.items()},
    }
    if (share := found.account.notes.get(FIRST)) is not None:
        about[FIRST] = round(float(share), 2)
    kinds: dict[Hashable, Kind] = {variable.name: variable.kind for variable in found.inputs}
    codes: dict[Hashable, str] = {one.name: one.code_of for one in found.inputs if one.code_of}
    row, frame = found.frame["row"].to_numpy(), pd.DataFrame(found.frame[found.names])
    return Rows(visits.name, frame, row, kinds, codes, about, found.account.lines())


def _of_table(
    table: Path, columns: Sequence[str], categories: Sequence[str], codes: Sequence[str], written: Csv
) -> Rows:
    frame = _whole(table, columns or None, categories, written)
    if not len(frame):
        raise InputError(["the table has no rows"], table.name)
    distinct = [
        str(name)
        for name in frame
        if pd.api.types.is_integer_dtype(frame[name].dtype)
        and len(frame) > DISTINCT_ROWS
        and frame[name].is_unique
    ]
    lines = [f"{len(frame):,} rows, {frame.shape[1]} columns"]
    if distinct:
        what = "another value in every row: if they are numbers of something, name the inputs with --columns"
        lines.append(f"warning: {', '.join(distinct)}: {what}")
    source = {"table": manifest.fingerprint(table)}
    about = {"source": source if written == UTF8 else source | {"csv": manifest.plain(written)}}
    kinds: dict[Hashable, Kind] = dict.fromkeys(categories, "categorical")
    row = np.arange(1, len(frame) + 1)
    return Rows(table.name, frame, row, kinds, _code_of(codes, list(frame)), about, lines)


def _named(one: str) -> tuple[str, list[str]]:
    """Return the variable of VARIABLE=COLUMN,COLUMN, and the columns."""
    variable, _, names = one.partition("=")
    return variable.strip(), [name.strip() for name in names.split(",")]


def _code_of(codes: Sequence[str], names: Sequence[Hashable]) -> dict[Hashable, str]:
    """Return the variable that a column is one code of, by name of the column.

    Raises:
        InputError: a column that is not there, or is a code of two variables.
    """
    found: dict[Hashable, str] = {}
    for one in codes:
        variable, patterns = _named(one)
        for wanted in patterns:
            ours = [name for name in names if str(name) == wanted]
            if not ours and wanted.endswith("*"):
                ours = [name for name in names if str(name).startswith(wanted[:-1])]
            if not ours:
                near = closest(wanted, map(str, names))
                problem = f"--codes {variable}: no column '{wanted}' among the inputs{near}"
                raise InputError([problem], "settings")
            if twice := [str(name) for name in ours if found.setdefault(name, variable) != variable]:
                problem = f"codes of {found[twice[0]]} already: {', '.join(twice)}"
                raise InputError([f"--codes {variable}: {problem}"], "settings")
    return found


@contextmanager
def stream(
    visits: Path | None,
    mapping: Path | None,
    table: Path | None,
    written: Csv,
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
        advice = "; it is a column of the model: it has to be there, but may be blank"
        if "levels" in about:
            advice = "; the model was fitted to visits: give these as --visits, with the --mapping"
        yield _numbered(batches(table, names, texts, written=written, advice=advice))
        return
    assert visits is not None
    assert mapping is not None
    if "levels" not in about:
        problem = "the model was not fitted to visits through a mapping; give its columns as a --table"
        raise InputError([problem], mapping.name)
    known = about["source"].get("mapping") or {}
    if (manifest.fingerprint(mapping) or {}).get("sha256") != known.get("sha256"):
        terminal.say("  warning: this mapping is not the one the model was fitted through", "yellow")
    levels = {name: tuple(codes) for name, codes in about["levels"].items()}
    with scratch(tables) as temp:
        out = temp / "features.parquet"
        with terminal.step("features"):
            found = write_features(visits, read_mapping(mapping), out, levels, tables)
        for line in found.account.lines():
            terminal.say(f"  {line}")
        now, then = found.account.notes.get(FIRST, 0.0), about.get(FIRST)
        if then is not None and now > then + MANY_FIRST:
            what = (
                f"{100 * now:.0f} % of these are a patient's first visit, at the fit {100 * then:.0f} % were"
            )
            advice = "a history needs the earlier visits too: give them all, and take the rows you want"
            terminal.say(f"  warning: {what}; {advice}", "yellow")
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


def _whole(path: Path, names: Sequence[str] | None, texts: Sequence[str], written: Csv) -> pd.DataFrame:
    """Return a whole table, whose types are those of all rows."""
    parts = list(batches(path, names, texts, whole=True, written=written))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def batches(
    path: Path,
    names: Sequence[str] | None = None,
    texts: Sequence[str] = (),
    whole: bool = False,
    written: Csv = UTF8,
    advice: str = "",
) -> Iterator[pd.DataFrame]:
    """Yield a table, CSV or Parquet, a part at a time.

    Args:
        path: the file, or a folder of parts.
        names: columns, in the order wanted; all if None.
        texts: columns that hold text, whatever it looks like.
        whole: a CSV file in one part, whose types are those of all its rows; numbers with leading zeros are
            text then.
        written: how a CSV file is.
        advice: what else to say of a column that is not there.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    files, heads = files_of(path, written=written)
    wanted = [*heads[0].columns] if names is None else [*names]
    if absent := [name for name in dict.fromkeys([*wanted, *texts]) if name not in heads[0].columns]:
        known = heads[0].columns
        problems = [f"column '{name}': not in the table{closest(name, known)}{advice}" for name in absent]
        raise InputError(problems, path.name)
    text = is_csv(files[0])
    if text:
        # Else for its lines alone.
        asked = [name for name in wanted if name not in texts] if whole or written.decimal == "," else []
        codes, signs = set[str](), np.zeros((len(asked), len(shapes(","))), int)
        for file in files:
            some, counts = _seen(file, heads[0], asked, written)
            codes, signs = codes | some, signs + counts
        parted = [name for name, counts in zip(asked, signs, strict=True) if parts_thousands(counts.tolist())]
        if parted:
            raise InputError(
                [f"column '{name}': a comma in its numbers; {PARTED}" for name in parted], path.name
            )
        texts = [*texts, *sorted(codes if whole else ())]
    for file in files:
        with readable(file.name, None, text, written):
            parts = _csv(file, heads[0], wanted, texts, whole, written) if text else _parquet(file, wanted)
            for part in parts:
                if text:
                    _same_sign(part.drop(columns=[*texts], errors="ignore"), written, file.name, whole)
                yield pd.DataFrame(part[wanted], copy=False)


def _same_sign(part: pd.DataFrame, written: Csv, name: str, whole: bool) -> None:
    """Refuse texts that are numbers with the other decimal sign: later they might be taken for numbers.

    Raises:
        InputError: there are such columns.
    """
    other, word, number = (",", "comma", WITH_COMMA) if written.decimal == "." else (".", "point", NUMBER)
    problems = []
    for column in part.select_dtypes(exclude="number"):
        texts = part[column].dropna().astype(str)
        if not (texts.str.fullmatch(number).all() and texts.str.contains(other, regex=False).any()):
            continue
        if parts_thousands(_counts(pa.array(texts, pa.string()), other)):
            problems.append(f"column '{column}': a {word} in its numbers; {PARTED}")
            continue
        advice = f"where that is the sign, give --csv.decimal '{other}'"
        advice += "; where these are codes, give --categories" if whole else ""
        problems.append(f"column '{column}': numbers with a decimal {word}; {advice}")
    if problems:
        raise InputError(problems, name)


def _counts(texts: pa.Array, sign: str) -> list[int]:
    """Return how many texts have each of `shapes`."""
    found = [pc.match_substring_regex(texts, pattern) for pattern in shapes(sign)]  # type: ignore[attr-defined]
    return [one.true_count for one in found]


def _seen(file: Path, head: Head, names: Sequence[str], written: Csv) -> tuple[set[str], np.ndarray]:
    """Return which columns of a CSV file hold numbers with leading zeros, and what their commas look like.

    The latter as `shapes` counts it, a row a column, where commas are decimals.

    Raises:
        InputError: a line has more or fewer fields than the header.
    """
    options = {"column_types": dict.fromkeys(head.columns, pa.string()), "strings_can_be_null": True}
    options |= {"include_columns": [*names] or [next(iter(head.columns))]}
    codes: set[str] = set()
    signs = np.zeros((len(names), len(shapes(","))), int)
    with (
        readable(file.name, None, True, written),
        csv.open_csv(
            pa.input_stream(file, compression="gzip" if is_packed(file) else None),
            csv.ReadOptions(
                column_names=[*head.columns],
                skip_rows=1,
                encoding="utf8" if written.codec == UTF8.codec else written.codec,  # its own needs no Python
            ),
            csv.ParseOptions(delimiter=head.delimiter, newlines_in_values=True),
            csv.ConvertOptions(**options),
        ) as opened,
    ):
        for part in opened:
            for place, name in enumerate(names if written.decimal == "," else ()):
                signs[place] += _counts(part.column(name), ",")
            for name in {*names} - codes:
                found = pc.match_substring_regex(part.column(name), r"^0[0-9]+$")  # type: ignore[attr-defined]
                if found.true_count:
                    codes.add(name)
    return codes, signs


def _csv(
    file: Path, head: Head, names: Sequence[str], texts: Sequence[str], whole: bool, written: Csv
) -> Iterator[pd.DataFrame]:
    options: dict[str, Any] = {"sep": head.delimiter, "header": 0, "names": [*head.columns]}
    options |= {"usecols": names, "skipinitialspace": True, "encoding": written.codec}
    options |= {"decimal": written.decimal}
    options |= {"dtype": dict.fromkeys(texts, str), "na_values": [*WORDS], "low_memory": False}
    parts: Any = (
        [pd.read_csv(file, **options)] if whole else pd.read_csv(file, chunksize=BATCH_ROWS, **options)
    )
    yield from parts


def _parquet(file: Path, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    with pq.ParquetFile(file, memory_map=False) as opened:
        for part in opened.iter_batches(BATCH_ROWS, columns=[*names]):
            yield part.to_pandas()
