"""Whatever is wrong with a file is said with column, rule, count and rows, and never with a value."""

import dataclasses
import errno
import gzip
import os
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from jvade.data.engines import connect, on_spark, readable
from jvade.data.errors import InputError
from jvade.data.features import read_visits
from jvade.data.source import files_of

SECRET = "QX7731"  # stands in the rows; must never stand in a message


def message(path, mapping) -> str:
    with pytest.raises(InputError) as caught:
        read_visits(path, mapping)
    assert caught.value.__cause__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("COST", SECRET, "not a number"),
        ("COST", "inf", "not a number"),
        ("COST", "7.731e39", "not a number"),
        ("COST", "-77.31", "a cost below 0"),
        ("AGE", "-77.31", "an age below 0"),
        ("AGE", "7731", "an age over 130 years"),
        ("AGE", SECRET, "not a number"),
        ("AGE", None, "a blank"),
        ("DAY", SECRET, "not a date written as %Y-%m-%d"),
        ("DAY", "2024-02-30", "not a date written as %Y-%m-%d"),
        ("DAY", None, "a blank"),
        ("SEX", SECRET, "a code that [sex] lists neither as female nor as male"),
        ("SEX", " ", "a blank"),
        ("PERSON", None, "a blank"),
        ("LIVES", None, "a blank"),
        ("TREATED", None, "a blank"),
        ("WAIT", SECRET, "not a number"),
    ],
)
def test_rule(visits, mapping, write, column, value, rule, ending):
    visits.loc[[1, 4], column] = value
    text = message(write(visits, ending), mapping)
    assert f"column '{column}': {rule} in 2 rows (data rows 2, 5); " in text
    assert text.startswith(f"visits{ending}: ")
    if value and value.strip():
        assert value not in text


def test_only_the_first_rows_are_listed_and_filtered_rows_are_free(visits, mapping, write):
    many = pd.concat([visits] * 3, ignore_index=True)
    many["COST"] = SECRET
    text = message(write(many), mapping)
    assert "not a number in 18 rows (first data rows 1, 2, 3, 4, 5)" in text
    visits.loc[6, "COST"] = SECRET  # its STATUS is not kept
    read_visits(write(visits), mapping)


def test_missing_column_is_named_with_the_closest_and_hides_nothing_else(visits, mapping, write):
    visits.loc[0, "SEX"] = SECRET
    text = message(write(visits.rename(columns={"COST": "COSTS"})), mapping)
    assert "2 problems" in text
    assert (
        "column 'COST' (named by 'cost.column'): missing; the closest is 'COSTS'; the file has: PERSON"
        in text
    )
    assert "column 'SEX': a code" in text
    assert "in 1 row (data row 1)" in text


def test_missing_filter_column_is_the_only_complaint(visits, mapping, write):
    text = message(write(visits.drop(columns="STATUS")), mapping)
    assert "column 'STATUS' (named by 'filter[1].column'): missing" in text
    assert "problems" not in text


def test_column_of_lists_is_of_the_wrong_type(visits, mapping, write):
    visits["COST"] = [[SECRET]] * len(visits)
    text = message(write(visits, ".parquet"), mapping)
    assert "column 'COST' (named by 'cost.column'): wrong type, array<string>" in text


def test_moment_with_a_time_zone_is_refused_as_its_day_is_ambiguous(visits, mapping, write):
    visits["DAY"] = pd.to_datetime(visits["DAY"]).dt.tz_localize("Asia/Shanghai")
    text = message(write(visits, ".parquet"), mapping)
    assert "column 'DAY' (named by 'date.column'): wrong type, timestamp('UTC'" in text


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_no_rows(visits, mapping, write, ending):
    assert "a header but no rows" in message(write(visits.head(0).astype("string"), ending), mapping)


def test_no_rows_pass_the_filters(visits, mapping, write):
    visits["STATUS"] = "void"
    assert "none of the 7 rows passes the filters" in message(write(visits), mapping)


def test_all_costs_missing_and_another_thing(visits, mapping, write):
    visits["COST"] = None
    visits.loc[0, "SEX"] = SECRET
    text = message(write(visits.astype("string")), mapping)
    assert "2 problems" in text
    assert "column 'COST': no cost in 6 rows, and no row remains" in text


def test_unknown_age_unit(visits, mapping, write):
    age = dataclasses.replace(mapping.age, unit_column="KIND", units={"G": "years"})
    text = message(write(visits), dataclasses.replace(mapping, age=age))
    assert "column 'KIND': an age unit that 'age.units' does not list in 1 row (data row 2)" in text


def test_files_that_cannot_be_read(visits, mapping, write, tmp_path):
    visits["HOSPITAL"] = SECRET
    good = write(visits, ".parquet").read_bytes()
    cases = {
        "cut.parquet": good[: len(good) // 2],
        "text.parquet": b"PERSON,COST\n" + SECRET.encode(),
        "empty.parquet": b"",
        "empty.csv": b"",
        "ragged.csv": b"PERSON,COST\n1,2\n1,2," + SECRET.encode() + b"\n",
        "latin.csv": f"PERSON,COST\n{SECRET}é,2\n".encode("latin-1"),
        "plain.csv.gz": b"PERSON,COST\n1,2\n",
        "cut.csv.gz": gzip.compress(b"PERSON,COST\n" + b"1,2\n" * 999)[:40],
        "twice.csv": b"COST,COST\n1,2\n",
        "book.xlsx": b"PK",
    }
    expected = {
        "empty.csv": "the file is empty",
        "ragged.csv": "cannot be read as CSV at line 3",
        "latin.csv": "the text is not UTF-8; save the file as UTF-8",
        "plain.csv.gz": "cannot be read as CSV",
        "cut.csv.gz": "cannot be read as CSV",
        "twice.csv": "column 'COST' occurs twice",
        "book.xlsx": "unsupported kind of file; save the table as .csv or .csv.gz or .tsv",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        text = message(path, mapping)
        assert text.startswith(f"{name}: ")
        assert expected.get(name, "cannot be read as Parquet") in text
    assert "no such file" in message(tmp_path / "none.csv", mapping)
    assert "a folder of files of several kinds" in message(tmp_path, mapping)
    (tmp_path / "empty").mkdir()
    assert "a folder without files ending in .csv, .csv.gz, .tsv" in message(tmp_path / "empty", mapping)


REACH = "check that you may read it, and that its disk or share is there"


def test_a_file_out_of_reach_is_no_broken_one(visits, write, tmp_path, monkeypatch):
    def refuse(*_arguments, **_more):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = write(visits, ".csv.gz")
    said = f"cannot be read: Permission denied; {REACH}"
    for lost, opened in (("gzip.open", path), ("os.scandir", tmp_path), ("pathlib.Path.stat", path)):
        with monkeypatch.context() as patch:
            patch.setattr(lost, refuse)
            with pytest.raises(InputError) as caught:
                files_of(opened)
        assert str(caught.value) == f"{opened.name}: the file {said}"


def test_a_share_that_is_lost_while_a_table_is_read_is_said():
    with connect() as engine, pytest.raises(InputError) as caught, readable("a.csv", engine, True):
        raise duckdb.IOException('IO Error: Could not read from file "a.csv": Input/output error')
    assert str(caught.value) == f"a.csv: the file cannot be read: Input/output error; {REACH}"


def test_a_file_without_a_header_is_refused_before_its_rows_are_listed_as_columns(visits, mapping, tmp_path):
    visits.loc[0, "PERSON"] = SECRET
    path = tmp_path / "visits.csv"
    visits.to_csv(path, index=False, header=False)
    assert "numbers or dates instead of column names" in message(path, mapping)


def test_spark_takes_no_packed_file_for_text():
    assert on_spark._address(Path("/parts/a.CSV.gz")) == "file:///parts/a.CSV.gz"
    with pytest.raises(InputError, match=r"b\.csv\.GZ: Spark unpacks \.gz in small letters only; rename it"):
        on_spark._address(Path("/parts/b.csv.GZ"))
