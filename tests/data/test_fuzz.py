"""Hundreds of broken tables: each is refused in words, or read with an account that adds up."""

import datetime
import gzip
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jvade.data.engines import EngineSettings, connect, readable
from jvade.data.errors import InputError
from jvade.data.features import read_visits
from jvade.data.mapping import parse_mapping
from jvade.data.source import open_table
from jvade.data.tidy import WORDS

SECRET = "QX7731"  # stands in the rows; must never stand in a message
ROWS = f"""
PERSON VISIT DAY AGE SEX LIVES TREATED COST HOSPITAL DM PAYER
{SECRET} 9 2024-01-05 60 F A A 100.5 {SECRET} 1 B
{SECRET} 10 2024-01-05 60 F A B - {SECRET} 0 B
{SECRET} 11 2024-03-01 60 F A A 80 h1 0 B
p2 12 2023-12-30 31.5 M A B 20 h2 1 C
p2 13 2024-01-02 31.5 M A A 30 h1 1 C
p3 14 2024-02-02 5 F B B 15 h2 0 D
"""
MAPPING = """
patient = "PERSON"
visit = "VISIT"
date = { column = "DAY" }
age = { column = "AGE" }
sex = { column = "SEX", female = ["F"], male = ["M"] }
outcome = { residence = "LIVES", place = "TREATED" }
cost = { column = "COST" }
further = [{ name = "flag", column = "DM", kind = "binary", yes = ["1"] }]
"""
NOT_CSV, NOT_PARQUET, NOT_UTF8 = "cannot be read as CSV", "cannot be read as Parquet", "text is not UTF-8"
READ = "read"  # as another table, which need not be the clean one


def table() -> pd.DataFrame:
    header, *rows = (line.split() for line in ROWS.strip().splitlines())
    return pd.DataFrame([[None if c == "-" else c for c in row] for row in rows], columns=header)


FRAME = table()
CSV = FRAME.to_csv(index=False).encode()
HEADER, BODY = CSV.split(b"\n", 1)
ARROW = pa.Table.from_pandas(FRAME, preserve_index=False)


def check_refusal(error: InputError, *words: str) -> None:
    text = str(error)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert SECRET not in text
    assert "Traceback" not in text
    for word in words:
        assert word in text


def check_account(found) -> None:
    account = found.account
    assert account.rows_read == account.filtered_out + sum(d.rows for d in account.dropped) + account.kept
    assert account.kept == len(found.frame)


def attempt(path: Path, expected: str, clean=None, mapping: str = MAPPING) -> None:
    """Read a table that must be refused with the words `expected`, or with none must give the clean one."""
    parsed = parse_mapping(mapping)
    if expected in ("", READ):
        found = read_visits(path, parsed)
        check_account(found)
        if not expected:
            pd.testing.assert_frame_equal(found.frame, clean.frame)
        return
    with pytest.raises(InputError) as caught:
        read_visits(path, parsed)
    check_refusal(caught.value, expected)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    path = tmp_path_factory.mktemp("clean") / "visits.csv"
    path.write_bytes(CSV)
    return read_visits(path, parse_mapping(MAPPING))


def put(value: str, old: bytes = b"100.5") -> bytes:
    return CSV.replace(old, value.encode(), 1)


TEXTS: dict[str, tuple[bytes, str]] = {
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + CSV, ""),
    "two marks": (b"\xef\xbb\xbf" * 2 + CSV, "column 'PERSON' (named by 'patient'): missing"),
    "UTF-16": (CSV.decode().encode("utf-16"), NOT_UTF8),
    "UTF-16 without a mark": (CSV.decode().encode("utf-16-le"), NOT_CSV),
    "GBK rows": (CSV.replace(b"p2", "张伟".encode("gbk")), NOT_UTF8),
    "GBK header": (CSV.replace(b"HOSPITAL", "医疗机构".encode("gbk")), NOT_UTF8),
    "Latin-1": (CSV.replace(b"p2", "é".encode("latin-1")), NOT_UTF8),
    "NUL in a number": (put("100\0.5"), "column 'COST': not a number in 1 row (data row 1)"),
    "NUL in a name": (CSV.replace(b"COST", b"CO\0ST"), "column 'COST' (named by 'cost.column'): missing"),
    "NULs at the end": (CSV + b"\0" * 99, NOT_CSV),
    "CRLF": (CSV.replace(b"\n", b"\r\n"), ""),
    "CR": (CSV.replace(b"\n", b"\r"), ""),
    "several line ends": (CSV.replace(b"\n", b"\r\n", 3), NOT_CSV),
    "no end": (CSV.rstrip(), ""),
    "blank lines": (CSV.replace(b"\np2", b"\n\np2", 1) + b"\n\n", ""),
    "spaces for a line": (CSV + b"   \n", NOT_CSV),
    "a blank first line": (b"\n" + CSV, "the file is empty"),
    "nothing": (b"", "the file is empty"),
    "a header alone": (HEADER + b"\n", "a header but no rows"),
    "commas at the ends": (CSV.replace(b"\n", b",\n"), ""),
    "a title before the header": (b"# exported\n" + CSV, NOT_CSV),
    "Excel's first line": (b"sep=,\n" + CSV, NOT_CSV),
    "no header": (BODY, "numbers or dates instead of column names"),
    "names in spaces and quotes": (CSV.replace(b"COST", b'" COST "'), ""),
    "a line break in a name": (CSV.replace(b"COST", b'"CO\nST"'), "a column name holds a line break"),
    # The header would swallow rows, and a message that lists the columns would show them.
    "an open quote in the header": (
        CSV.replace(b"COST", b'"COST').replace(b"h2", b'h2"', 1),
        "a column name holds a line break",
    ),
    "an open quote": (put('"100.5'), NOT_CSV),
    "text after a quote": (put('"100.5"x'), NOT_CSV),
    "semicolons": (CSV.replace(b",", b";"), ""),
    "tabs": (CSV.replace(b",", b"\t"), ""),
    "bars": (CSV.replace(b",", b"|"), ""),
    "colons": (CSV.replace(b",", b":"), "column 'COST' (named by 'cost.column'): missing"),
    "two delimiters": (HEADER + b"\n" + BODY.replace(b",", b";"), f"{NOT_CSV} at line 2"),
    "a field too many": (put("100.5,7"), f"{NOT_CSV} at line 2"),
    "a huge field": (CSV.replace(b"h1", b"x" * 3_000_000), NOT_CSV),
    "a large field": (CSV.replace(b"h1", b"x" * 900_000), ""),
    "a huge name": (CSV.replace(b"HOSPITAL", b"X" * 200_000), NOT_CSV),
    "a name twice": (CSV.replace(b"HOSPITAL", b"COST"), "column 'COST' occurs twice"),
    "a name twice but for its case": (CSV.replace(b"HOSPITAL", b"cost"), "column 'cost' occurs twice"),
    "7 in hard spaces": (put("7\u00a0"), READ),
    "7 behind a tab": (put("\t7"), READ),  # so Excel is told that digits are no number
}


@pytest.mark.parametrize("name", TEXTS)
def test_text(name, clean, tmp_path):
    content, expected = TEXTS[name]
    path = tmp_path / "visits.csv"
    path.write_bytes(content)
    attempt(path, expected, clean)


DATE, YEAR = "not a date written as %Y-%m-%d", "a date before 1850 or after 2100"
#: Texts that break one rule, by column.
VALUES: dict[tuple[str, str], list[str]] = {
    ("COST", "not a number"): [
        *(
            '"1,100.5"',
            "100.5 yuan",
            "¥100.5",
            '"100,5"',
            "inf",
            "-Infinity",
            "1e400",
            "1e31",
            "0x10",
            "1_000",
        ),
        *("1d", "--5", ".", "#REF!", "\uff11\uff10\uff10", "\u0663", "1 000", "=1+1", SECRET),
    ],
    ("COST", "a cost below 0"): ["-0.01", "-1e29", "-5"],
    ("AGE", "an age over 130 years"): ["999", "130.5", "1e9"],
    ("AGE", "an age below 0"): ["-1", "-0.5"],
    ("AGE", "not a number"): ["60 y", "sixty", "60-69", SECRET],
    ("AGE", "a blank"): ["", "NaN", "   "],
    ("SEX", "a code that [sex] lists neither as female nor as male"): ["f", "1", "X", "na", SECRET],
    ("PERSON", "a blank"): ["", "  ", "nan"],
    ("LIVES", "a blank"): ["", " ", *WORDS],
    ("SEX", "a blank"): ["NA", " NULL"],
    ("DAY", "a blank"): ["NULL", "\\N"],
    ("DAY", DATE): [
        *("0000-00-00", "2024-02-30", "2024-13-01", "45296", "2024/01/05", "today", "2024-01-05T00:00:00Z"),
        *("2024-01-05 00:00:00+08:00", "05.01.2024", "2024-01-05 25:00", "2024-01-05 10:60", "infinity"),
        *("epoch", "-2024-01-05", "12024-01-05", "2024-01-05BC", "20240105", "2024-01", SECRET),
    ],
    ("DAY", YEAR): ["9999-12-31", "1799-01-01", "0001-01-01", "2101-01-01", "1849-12-31"],
}


def faulty(column: str, values: list[str]) -> list[str]:
    """Return a line of CSV for each value, all else of which is good."""
    found = []
    for value in values:
        fields = CSV.decode().splitlines()[-1].split(",")
        fields[FRAME.columns.get_loc("PERSON")] = "other"
        fields[FRAME.columns.get_loc(column)] = value
        found.append(",".join(fields))
    return found


@pytest.mark.parametrize(("column", "rule"), VALUES)
def test_values(column, rule, tmp_path):
    """Texts of one fault, each of which is told, and as nothing else."""
    values = VALUES[column, rule]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join([CSV.decode() + "\n".join(faulty(column, values)), ""]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_visits(path, parse_mapping(MAPPING))
    many = "data row" if len(values) <= 5 else "first data row"
    rows = ", ".join(str(7 + i) for i in range(min(len(values), 5)))
    check_refusal(caught.value, f"column '{column}': {rule} in {len(values)} rows ({many}s {rows})")
    assert len(caught.value.problems) == 1


def test_values_that_drop(clean, tmp_path):
    """The same faults, dropped: each row counts once, and the others are as they were."""
    rows = [line for (column, _), values in VALUES.items() for line in faulty(column, values)]
    path = tmp_path / "visits.csv"
    path.write_text(CSV.decode() + "\n".join(rows) + "\n", encoding="utf-8")
    parts = ("patient", "date", "age", "sex", "outcome", "cost")
    drops = "[checks]\n" + "\n".join(f'{part} = "drop"' for part in parts)
    found = read_visits(path, parse_mapping(MAPPING + drops))
    check_account(found)
    assert found.account.rows_read == len(FRAME) + len(rows)
    pd.testing.assert_frame_equal(found.frame, clean.frame)


GOOD = {
    "COST": "100.5 - 80 20 30 15",
    "DM": "1 0 0 1 1 0",
    "VISIT": "9 10 11 12 13 14",
    "PERSON": "1 1 1 2 2 3",
}
GOOD |= {"AGE": "60 60 60 31.5 31.5 5"}
DAYS = [datetime.datetime.fromisoformat(day) for day in FRAME["DAY"]]


def column(name: str, kind: pa.DataType) -> pa.Array:
    """Return the clean values of a column in another type."""
    if name == "DAY":
        return pa.array(DAYS, kind)
    values = [None if text == "-" else Decimal(text) for text in GOOD[name].split()]
    return pa.array([v if v is None or pa.types.is_decimal(kind) else float(v) for v in values]).cast(kind)


TYPED = [
    {"COST": pa.decimal128(38, 10), "DM": pa.decimal128(38, 10), "VISIT": pa.decimal128(12, 2)},
    {"COST": pa.float32(), "DM": pa.uint64(), "VISIT": pa.float64(), "PERSON": pa.decimal128(38, 10)},
    {"AGE": pa.float16(), "DM": pa.float32(), "PERSON": pa.uint64(), "DAY": pa.date64()},
    {"AGE": pa.decimal128(5, 1), "DM": pa.int8(), "PERSON": pa.float64(), "DAY": pa.timestamp("ns")},
    {"DAY": pa.date32(), "COST": pa.decimal256(60, 2), "VISIT": pa.uint8(), "PERSON": pa.int16()},
    {"DAY": pa.timestamp("s"), "VISIT": pa.decimal256(50, 3), "AGE": pa.decimal256(50, 3)},
]


@pytest.mark.parametrize("kinds", TYPED)
def test_types_that_tell_the_same(kinds, clean, tmp_path):
    arrow = ARROW
    for name, kind in kinds.items():
        arrow = arrow.set_column(arrow.column_names.index(name), name, column(name, kind))
    for name in ("SEX", "LIVES"):
        arrow = arrow.set_column(arrow.column_names.index(name), name, arrow[name].dictionary_encode())
    pq.write_table(arrow, tmp_path / "visits.parquet")
    attempt(tmp_path / "visits.parquet", "", clean)


@pytest.mark.parametrize("kind", [pa.uint64(), pa.float64(), pa.decimal128(30, 1)])
def test_visits_of_numbers_that_are_no_plain_ones_keep_their_order(kind, clean, tmp_path):
    numbers = [2**64 - 20 + i if kind == pa.uint64() else Decimal(2 * i + 19) / 2 for i in range(6)]
    visits = pa.array([float(n) if kind == pa.float64() else n for n in numbers], kind)
    pq.write_table(ARROW.set_column(1, "VISIT", visits), tmp_path / "visits.parquet")
    attempt(tmp_path / "visits.parquet", "", clean)


def typed(name: str, values: pa.Array) -> pa.Table:
    return ARROW.set_column(ARROW.column_names.index(name), name, values)


def same(value, kind=None) -> pa.Array:
    return pa.array([value] * 6, kind)


def end(kind: pa.DataType, value: int) -> pa.Array:
    return pa.array([value] * 6, pa.int32() if kind == pa.date32() else pa.int64()).view(kind)


WRONG = "wrong type, "
UNUSABLE = [same([1.0]), same({"a": 1}), same([("a", 1)], pa.map_(pa.string(), pa.int64()))]
UNUSABLE += [same(b"QX"), same(b"0123456789abcdef", pa.binary(16)), pa.nulls(6, pa.list_(pa.int8()))]
UNUSABLE += [pa.array(DAYS, pa.timestamp("us", "UTC")), pa.array(DAYS, pa.timestamp("ns", "Asia/Shanghai"))]
LAST, FIRST = 2**63 - 1, -(2**63) + 1
PARQUET: list[tuple[str, pa.Table, str]] = [
    *(
        (f"{name} {array.type}", typed(name, array), f"column '{name}' (named by")
        for name in ("DAY", "PERSON")
        for array in UNUSABLE
    ),
    *((f"{n} list", typed(n, same([1])), WRONG) for n in ("VISIT", "COST", "AGE", "SEX", "DM", "LIVES")),
    ("true costs", typed("COST", same(True)), "column 'COST': not a number in 6 rows"),
    ("costs that are times", typed("COST", same(datetime.time(1))), "column 'COST': not a number in 6 rows"),
    ("costs that are dates", typed("COST", pa.array(DAYS)), "column 'COST': not a number in 6 rows"),
    ("no costs", typed("COST", pa.nulls(6)), "no cost in 6 rows, and no row remains"),
    ("no costs, typed", typed("COST", pa.nulls(6, pa.float64())), "no cost in 6 rows, and no row remains"),
    (
        "odd floats",
        typed("COST", pa.array([np.inf, np.nan, -0.0, 1e300, -np.inf, 2.0])),
        "column 'COST': not a number in 3 rows (data rows 1, 4, 5)",
    ),
    ("whole days", typed("DAY", same(20240105)), "column 'DAY': not a date written as %Y-%m-%d in 6 rows"),
    ("serial days", typed("DAY", same(45296.0)), "column 'DAY': not a date written as %Y-%m-%d in 6 rows"),
    ("true days", typed("DAY", same(True)), "column 'DAY': not a date written as %Y-%m-%d in 6 rows"),
    ("times of day", typed("DAY", same(datetime.time(1))), "column 'DAY': not a date written as"),
    ("no days", typed("DAY", pa.nulls(6)), "column 'DAY': a blank in 6 rows"),
    ("no days, typed", typed("DAY", pa.nulls(6, pa.date32())), "column 'DAY': a blank in 6 rows"),
    *(
        (f"{value} as {kind}", typed("DAY", end(kind, value)), YEAR)
        for kind in (pa.timestamp("us"), pa.timestamp("ns"))
        for value in (LAST, LAST - 1, FIRST)
    ),
    *(
        (f"{v} as date", typed("DAY", end(pa.date32(), v)), YEAR)
        for v in (2**31 - 1, 2**31 - 2, -(2**31) + 1)
    ),
    ("no patients", typed("PERSON", pa.nulls(6)), "column 'PERSON': a blank in 6 rows"),
    ("a gap in patients", typed("PERSON", pa.array([1.0, None] * 3)), "column 'PERSON': a blank in 3 rows"),
    ("no visits", typed("VISIT", pa.nulls(6)), ""),
    ("no rows", ARROW.slice(0, 0), "a header but no rows"),
    ("no columns", pa.table({}), NOT_PARQUET),
    (
        "twice",
        pa.Table.from_arrays([*ARROW.columns, ARROW["AGE"]], [*ARROW.column_names, "AGE"]),
        "occurs twice",
    ),
    (
        "case",
        pa.Table.from_arrays([*ARROW.columns, ARROW["AGE"]], [*ARROW.column_names, "age"]),
        "occurs twice",
    ),
]


@pytest.mark.parametrize(("arrow", "expected"), [p[1:] for p in PARQUET], ids=[p[0] for p in PARQUET])
def test_parquet(arrow, expected, clean, tmp_path):
    pq.write_table(arrow, tmp_path / "visits.parquet")
    attempt(tmp_path / "visits.parquet", expected, clean)


def test_days_as_numbers_of_any_type_are_read_as_the_mapping_says(clean, tmp_path):
    days = [int(day.replace("-", "")) for day in FRAME["DAY"]]
    dated = MAPPING.replace('"DAY" }', '"DAY", format = "%Y%m%d" }')
    for kind in (pa.int32(), pa.float64(), pa.decimal128(22, 2)):
        pq.write_table(typed("DAY", pa.array(days).cast(kind)), tmp_path / "visits.parquet")
        attempt(tmp_path / "visits.parquet", "", clean, dated)


OURS = "a name that columns of our own have"
RESERVED = ["jvade row number", "JVADE Row Number", "jvade file", "jvade category of DM"]
RESERVED += ["file_index", "file_row_number", "rowid"]
#: Names that look like ours, DuckDB's or SQL's, or would end a quote.
NAMES = [
    "filename",
    "jvade_file",
    "jvade_1",
    "nothing",
    "is kept",
    "row",
    "patient",
    "kept",
    "cross_district",
]
NAMES += ["category of DM", "key of hospital", "broken rules 0", "first", "rows", "a.b", 'a"b', "a'b", "a`b"]
NAMES += [
    "a;b",
    "a|b",
    "x; DROP TABLE y; --",
    "$1",
    "?",
    "{x}",
    "%s",
    "select",
    "visit moment",
    "\\",
    "note: x",
]
NAMES += ["coding of DM", "费用", "é", "index", "x" * 300, "costs", "Cost of the visit"]


def renamed(names: list[str]) -> tuple[dict[str, str], str]:
    """Return new names of the first columns, and the mapping that says them."""
    new, mapping = dict(zip(FRAME.columns[: len(names)], names, strict=True)), MAPPING
    for i, old in enumerate(new):
        mapping = mapping.replace(f'"{old}"', f"<{i}>")
    for i, name in enumerate(names):
        mapping = mapping.replace(f"<{i}>", f"'''{name}'''")
    return new, mapping


@pytest.mark.parametrize("start", range(0, len(NAMES), 8))
def test_names(start, clean, tmp_path):
    """A cost by any other name is the same cost, and so is every column."""
    new, mapping = renamed(NAMES[start : start + 8])
    pq.write_table(ARROW.rename_columns(new), tmp_path / "visits.parquet")
    attempt(tmp_path / "visits.parquet", "", clean, mapping)
    FRAME.rename(columns=new).to_csv(tmp_path / "visits.csv", index=False)
    attempt(tmp_path / "visits.csv", "", clean, mapping)


@pytest.mark.parametrize("name", RESERVED)
def test_name_that_is_ours(name, tmp_path):
    new, mapping = renamed([name])
    pq.write_table(ARROW.rename_columns(new), tmp_path / "visits.parquet")
    attempt(tmp_path / "visits.parquet", f"column '{name}': {OURS}", None, mapping)
    FRAME.rename(columns=new).to_csv(tmp_path / "visits.csv", index=False)
    attempt(tmp_path / "visits.csv", f"column '{name}': {OURS}", None, mapping)


@pytest.mark.parametrize("name", ["jvade row number", "file_index", "rowid", "jvade key of hospital"])
def test_name_that_is_ours_beside_the_visits(name, clean, tmp_path):
    """In Parquet it would take the place of our own; a CSV is read without it."""
    frame = FRAME.assign(**{name: 1})
    frame.to_parquet(tmp_path / "visits.parquet", index=False)
    attempt(tmp_path / "visits.parquet", f"column '{name}': {OURS}")
    frame.to_csv(tmp_path / "visits.csv", index=False)
    attempt(tmp_path / "visits.csv", "", clean)


def test_named_in_the_mapping_alone_it_is_missing(tmp_path):
    pq.write_table(ARROW, tmp_path / "visits.parquet")
    for name in ("jvade row number", "rowid", "filename"):
        mapping = MAPPING.replace('"COST"', f'"{name}"')
        attempt(
            tmp_path / "visits.parquet", f"column '{name}' (named by 'cost.column'): missing", None, mapping
        )


def fill(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, pa.Table):
            pq.write_table(content, path)
        elif isinstance(content, pd.DataFrame):
            if name.endswith(".parquet"):
                content.to_parquet(path, index=False)
            else:
                content.to_csv(path, index=False)
    return folder


A, B = FRAME.iloc[:3], FRAME.iloc[3:]
KINDS, ORDER = "a folder of files of several kinds", "its columns stand in another order"
PARTS: dict[str, tuple[dict[str, object], str]] = {
    "two": ({"a.csv": A, "b.csv": B}, ""),
    "packed and not": ({"a.csv": A, "b.csv.gz": B}, ""),
    "another order": ({"a.parquet": A, "b.parquet": B[B.columns[::-1]]}, ""),
    "another order of text": ({"a.csv": A, "b.csv": B[B.columns[::-1]]}, f"b.csv: {ORDER}"),
    "missing": ({"a.parquet": A, "b.parquet": B.drop(columns="COST")}, "column 'COST': only in a.parquet"),
    "missing text": ({"a.csv": A, "b.csv": B.drop(columns="COST")}, "column 'COST': only in a.csv"),
    "extra": ({"a.csv": A, "b.csv": B.assign(X=1)}, "column 'X': only in b.csv"),
    "types": ({"a.parquet": A, "b.parquet": B.astype({"COST": float})}, "column 'COST': double here, string"),
    "integers and floats": (
        {"a.parquet": typed("AGE", same(1)), "b.parquet": typed("AGE", same(1.5))},
        "column 'AGE': double here, int64",
    ),
    "units of time": (
        {
            "a.parquet": typed("DAY", pa.array(DAYS, "timestamp[ms]")),
            "b.parquet": typed("DAY", pa.array(DAYS)),
        },
        "column 'DAY': timestamp[us] here, timestamp[ms]",
    ),
    "an empty column": ({"a.parquet": A.assign(SEX=None), "b.parquet": B}, "column 'SEX': string here, null"),
    "categories": ({"a.parquet": A.astype({"SEX": "category"}), "b.parquet": B}, ""),
    "delimiters": ({"a.csv": A, "b.csv": B.to_csv(sep=";", index=False).encode()}, "parted by another sign"),
    "an empty part": ({"a.csv": A, "b.csv": b""}, "b.csv: the file is empty"),
    "a part without rows": ({"a.csv": FRAME.head(0), "b.csv": FRAME}, ""),
    "a Parquet part without rows": ({"a.parquet": ARROW.slice(0, 0), "b.parquet": ARROW}, ""),
    "a part in another encoding": (
        {"a.csv": A, "b.csv": CSV.decode().encode("utf-16")},
        f"b.csv: the {NOT_UTF8}",
    ),
    "a broken part": (
        {"a.parquet": A, "b.parquet": b"PAR1" + SECRET.encode() + b"PAR1"},
        "b.parquet: the file",
    ),
    "empty": ({}, "a folder without files ending in"),
    "hidden alone": ({"_SUCCESS": b"", ".a.csv": CSV}, "a folder without files ending in"),
    "notes": ({"a.csv": A, "notes.txt": b"x"}, KINDS),
    "both kinds": ({"a.csv": A, "b.parquet": B}, KINDS),
    "capitals": ({"A.CSV": A, "B.csv": B}, ""),
    "packed, in capitals": ({"A.CSV.GZ": gzip.compress(CSV)}, ""),
    "tabs": ({"a.TSV": CSV.replace(b",", b"\t")}, ""),
    "text": ({"a.txt": A, "b.Txt": B}, ""),
    "short": ({"a.pq": ARROW.slice(0, 3), "b.PARQUET": ARROW.slice(3)}, ""),
    "two kinds of text": ({"a.csv": A, "b.txt": B}, KINDS),
    "left by a notebook": ({"a.csv": FRAME, ".ipynb_checkpoints/a-checkpoint.csv": FRAME}, ""),
    "left by Spark": ({"a.parquet": FRAME, "_temporary/0/b.parquet": FRAME, "_SUCCESS": b""}, ""),
    "folders in it": ({"sub.csv/a.csv": A, "sub.csv/more/b.csv": B}, ""),
    # Engines take such a folder for a column, before the one in the file.
    "a folder named like a value": ({"COST=7/a.parquet": A, "COST=8/b.parquet": B}, ""),
    "a folder named like a value, text": ({"COST=7/a.csv": A, "COST=8/b.csv": B}, ""),
    # And a star in a name for other names.
    "stars": ({"a*.parquet": A, "a?.parquet": B}, ""),
    "brackets": ({"a[b].csv": A, "b.csv": B}, ""),
    "quotes": ({'it\'s "a".csv': A, "z;--.csv": B}, ""),
}


@pytest.mark.parametrize("name", PARTS)
def test_folder(name, clean, tmp_path):
    files, expected = PARTS[name]
    folder = tmp_path / "visits.csv"  # a folder all the same
    folder.mkdir()
    attempt(fill(folder, files), expected, clean)


def test_links(clean, tmp_path):
    folder = fill(tmp_path / "visits", {"a.csv": FRAME})
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.csv").symlink_to(folder / "none.csv")
    (folder / "self.csv").symlink_to(folder / "self.csv")
    attempt(folder, "", clean)
    attempt(folder / "self.csv", "there is no such file")


@pytest.mark.parametrize("name", ["none.csv", "x" * 400 + ".csv", "a\0b.csv", "", "a/../b.parquet"])
def test_path(name, tmp_path):
    attempt(tmp_path / "sub" / name, "there is no such file")


JOINED = (
    MAPPING.replace('"TREATED"', '"hospital.AREA"')
    + """
describe = { level = "hospital.LEVEL" }
join = [{ name = "hospital", file = "FILE", key = "ID", on = "HOSPITAL" }]
"""
)
SIDE = pd.DataFrame(
    {"ID": [SECRET, "h1", "h2"], "LEVEL": ["3a", "2b", "1"], "AREA": ["A", "A", "B"], "HELD": [[1]] * 3}
)
VISITS = FRAME.assign(HOSPITAL=["h1", "h2", "h1", "h2", "h1", "h2"])
UNLISTED = "column 'HOSPITAL': a code that the side table does not list in 3 rows (data rows 2, 4, 6)"
SIDES: dict[str, tuple[object, pd.DataFrame, str]] = {
    "good": (SIDE, VISITS, ""),
    "good text": (SIDE.to_csv(index=False).encode(), VISITS, ""),
    "keys twice": (pd.concat([SIDE, SIDE]), VISITS, "column 'ID': 3 codes stand in more than one row"),
    "keys twice once tidy": (b"ID,LEVEL,AREA\nh1,1,A\n h1 ,1,A\n", VISITS, "column 'ID': 1 codes"),
    "blank keys": (pd.concat([SIDE, SIDE.assign(ID=None), SIDE.assign(ID=" ")]), VISITS, ""),
    "no such column": (SIDE.drop(columns="LEVEL"), VISITS, "column 'hospital.LEVEL' (named by"),
    "no such column, text": (b"ID,AREA\nh1,A\nh2,B\n", VISITS, "column 'hospital.LEVEL' (named by"),
    "no key": (SIDE.drop(columns="ID"), VISITS, "column 'ID' (named by 'join 'hospital'.key'): missing"),
    "no code": (SIDE, VISITS.drop(columns="HOSPITAL"), "column 'HOSPITAL' (named by 'join[1].on'): missing"),
    "no file": (None, VISITS, "side.parquet: there is no such file"),
    "no rows": (SIDE.head(0), VISITS, "a code that the side table does not list in 6 rows"),
    "not Parquet": (b"PAR1 or not", VISITS, f"side.parquet: the file {NOT_PARQUET}"),
    "unlisted": (SIDE.iloc[:2], VISITS, UNLISTED),
    "blank codes": (SIDE, VISITS.assign(HOSPITAL=None), "column 'hospital.AREA': a blank in 6 rows"),
    "lists": (SIDE.assign(LEVEL=SIDE["HELD"]), VISITS, "column 'hospital.LEVEL' (named by 'describe"),
    "bytes": (
        SIDE.assign(AREA=b"A"),
        VISITS,
        "column 'hospital.AREA' (named by 'outcome.place'): wrong type",
    ),
    "a key of lists": (
        SIDE.assign(ID=SIDE["HELD"]),
        VISITS,
        "column 'ID' (named by 'join 'hospital'.key'): wrong",
    ),
    "a column of ours": (SIDE.assign(**{"jvade row number": 1}), VISITS, OURS),
    "words for a blank": (
        b"ID,LEVEL,AREA\nh1,2b,A\nh2,1,NULL\nNA,3a,B\n",
        VISITS,
        "column 'hospital.AREA': a blank in 3 rows (data rows 2, 4, 6)",
    ),
    # The visits have columns with names of the side table, or of ours before.
    "the name of the join": (SIDE, VISITS.assign(**{"hospital.AREA": "B", "hospital.LEVEL": "x"}), ""),
    "only the name of the join": (
        SIDE.drop(columns="LEVEL"),
        VISITS.assign(**{"hospital.LEVEL": "x"}),
        "column 'hospital.LEVEL' (named by",
    ),
    "names that were ours": (SIDE, VISITS.assign(**{"key of hospital": 1, "unlisted in hospital": 1}), ""),
}


@pytest.mark.parametrize("name", SIDES)
def test_side_table(name, tmp_path):
    side, visits, expected = SIDES[name]
    is_text = isinstance(side, bytes) and b"," in side
    file = tmp_path / ("side.csv" if is_text else "side.parquet")
    fill(tmp_path, {file.name: side, "visits.parquet": visits})
    mapping = JOINED.replace("FILE", str(file))
    if expected:
        attempt(tmp_path / "visits.parquet", expected, None, mapping)
        return
    found = read_visits(tmp_path / "visits.parquet", parse_mapping(mapping))
    check_account(found)
    assert found.outcome.tolist() == [False, False, True, False, False]
    assert found.frame["level"].tolist() == ["2b", "2b", "1", "2b", "1"]


def test_unlisted_codes_dropped_leave_the_history(tmp_path):
    fill(tmp_path, {"side.parquet": SIDE.iloc[:2], "visits.parquet": VISITS})
    mapping = JOINED.replace("FILE", str(tmp_path / "side.parquet"))
    found = read_visits(tmp_path / "visits.parquet", parse_mapping(mapping + '[checks]\nhospital = "drop"'))
    check_account(found)
    assert found.frame["row"].tolist() == [1, 3, 5]
    assert found.frame["visits_this_year"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("memory", ["1KB", "0GB", "99999999999999TB", "lots", "1 GB", "-1GB"])
def test_memory(memory, tmp_path):
    path = fill(tmp_path, {"visits.csv": CSV}) / "visits.csv"
    if memory == "1 GB":
        memory = "1e9GB"
    with pytest.raises(InputError, match="memory") as caught:
        read_visits(path, parse_mapping(MAPPING), settings=EngineSettings(memory=memory))
    check_refusal(caught.value)


def damaged(content: bytes, how: str, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    if how == "cut":
        return content[:at]
    if how == "flipped":
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    some = bytes(chance.randrange(256) for _ in range(8))
    return content[:at] + some + (content[at:] if how == "inserted" else content[at + 8 :])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_damage(ending, tmp_path):
    """Bytes lost, turned, overwritten or added anywhere: refused, or a table; a packed one is not changed."""
    source = fill(tmp_path, {f"visits{ending}": pd.concat([FRAME] * 20)}) / f"visits{ending}"
    content, chance, failed, refused = source.read_bytes(), random.Random(7), [], 0
    with connect() as engine:

        def look(path: Path) -> pd.DataFrame:
            opened = open_table(path, engine)
            with readable(opened.name, engine, opened.text):
                return opened.table.to_pyarrow().to_pandas()

        whole = look(source)
        for i in range(60):
            how = ("cut", "flipped", "overwritten", "inserted")[i % 4]
            path = tmp_path / f"visits {i}{ending}"
            path.write_bytes(damaged(content, how, chance))
            try:
                found = look(path)
            except InputError as error:
                refused += 1
                check_refusal(error)
                if path.name not in str(error):
                    failed.append((i, how, str(error)))
            except Exception as error:
                failed.append((i, how, repr(error)))
            else:
                if ending == ".csv.gz" and not found.equals(whole):
                    failed.append((i, how, "changed"))
    assert not failed
    assert refused > (50 if ending == ".csv.gz" else 15)


def test_damaged_text_to_the_end(tmp_path):
    chance, failed, parsed = random.Random(11), [], parse_mapping(MAPPING)
    for i in range(12):
        path = tmp_path / f"visits{i}.csv"
        path.write_bytes(damaged(CSV, ("cut", "flipped", "overwritten")[i % 3], chance))
        try:
            check_account(read_visits(path, parsed))
        except InputError as error:
            check_refusal(error)
        except Exception as error:
            failed.append((i, repr(error)))
    assert not failed


COMMANDS = {
    "text.csv": CSV.decode().encode("utf-16"),
    "quote.csv": TEXTS["an open quote in the header"][0],
    "secret.csv": put(SECRET),
    "twice.csv": TEXTS["a name twice"][0],
    "empty.csv": b"",
    "cut.csv.gz": gzip.compress(CSV)[:-3],
    "cut.parquet": b"PAR1",
    "day.csv": CSV.replace(b"2024-01-05", SECRET.encode()),
    "lists.parquet": typed("COST", same([1.0])),
    "last.parquet": typed("DAY", end(pa.timestamp("us"), LAST)),
    "ours.parquet": ARROW.rename_columns({"COST": "file_index"}),
    "folder": None,
    "none.csv": None,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_line(name, tmp_path, capsys, monkeypatch):
    from jvade import cli

    monkeypatch.chdir(tmp_path)
    fill(tmp_path, {name: COMMANDS[name], "mapping.toml": MAPPING.encode()})
    if name == "folder":
        fill(tmp_path / name, {"a.csv": A, "b.csv": B.assign(X=SECRET)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as left:
        cli.main(["paper", "--visits", name, "--mapping", "mapping.toml", "--out", "results"])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("jvade: ")
    assert "Traceback" not in said.err
    assert SECRET not in said.err + said.out
    assert sorted(tmp_path.rglob("*")) == before
