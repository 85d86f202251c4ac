"""A draft is right where the file is plain, is always TOML, and never shows what single rows hold."""

import errno
import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jvade.data import draft as drafting
from jvade.data.draft import SHAPES, SHARED, Seen, draft, guess, quote, write
from jvade.data.errors import InputError
from jvade.data.features import read_visits
from jvade.data.mapping import Date, Mapping, columns_used, parse_mapping, read_mapping

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "QX7731"


def visits(rows: int = 200, **columns) -> pd.DataFrame:
    """Return a plain Chinese table of visits, as text."""
    rng = np.random.default_rng(1)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, rows), unit="D")
    births = pd.Timestamp("1930-01-01") + pd.to_timedelta(rng.integers(0, 30_000, rows), unit="D")
    plain = {
        "患者ID": [f"P{i:04d}" for i in rng.integers(0, rows // 3, rows)],
        "就诊日期": days.strftime("%Y%m%d"),
        "性别": rng.choice(["男", "女"], rows),
        "年龄": rng.integers(0, 100, rows).astype(str),
        "出生日期": births.strftime("%Y-%m-%d"),
        "总费用": rng.gamma(2, 100, rows).round(2).astype(str),
        "诊断编码": rng.choice(["I10.x00", "E11.900x001", "J06.900", "K29.500", "M54.500", "Z00.000"], rows),
        "机构代码": rng.choice([f"3101{i:02d}" for i in range(30)], rows),
        "机构级别": rng.choice(["三级甲等", "三级乙等", "二级", "社区"], rows),
        "街道": rng.choice([f"第{i}街道" for i in range(9)], rows),
        "居住区县": ["甲区"] * rows,
        "就诊区县": rng.choice(["甲区", "乙区"], rows),
    }
    return pd.DataFrame(plain | columns)


# --- what is guessed ---


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_chinese_names(write, ending):
    mapping = parse_mapping(draft(write(visits(), ending)))
    used = {key: column for column, key in columns_used(mapping)}
    assert used == {
        "patient": "患者ID",
        "date.column": "就诊日期",
        "age.column": "年龄",
        "sex.column": "性别",
        "outcome.residence": "居住区县",
        "outcome.place": "就诊区县",
        "cost.column": "总费用",
        "diagnosis.principal": "诊断编码",
        "institution.level[1].when": "机构级别",
        "institution.level[2].when": "机构级别",
        "institution.level[3].when": "机构级别",
        "subdistrict.column": "街道",
    }
    assert mapping.date == Date("就诊日期", "%Y%m%d")
    assert (mapping.sex.female, mapping.sex.male) == (("女",), ("男",))
    levels = {level.name: sorted(level.when["机构级别"]) for level in mapping.institution.level}
    assert levels == {"tertiary": ["三级乙等", "三级甲等"], "secondary": ["二级"], "community": ["社区"]}
    assert mapping.chronic.diabetes == "from diagnosis"


def test_the_draft_of_a_plain_file_can_be_read(write):
    path = write(visits())
    table = read_visits(path, parse_mapping(draft(path)))
    assert table.account.kept == 200
    assert {"tertiary", "visits_this_year", "endocrine", "subdistrict_1"} & set(table.names)


@pytest.mark.parametrize(
    ("file", "example"),
    [
        ("examples/visits.csv", "visits"),
        ("sih_sp_2023/admissions.parquet", "datasus_sih"),
        ("sia_to_2023_10/procedures.parquet", "datasus_sia"),
    ],
)
def test_the_obvious_columns_of_our_examples_are_right(file, example, request):
    folder = EXAMPLES.parent if file.startswith("examples") else request.getfixturevalue("real_data")
    path = folder / file
    if not path.is_file():
        pytest.skip(f"{path.name} is not among the real data")
    drafted, ours = parse_mapping(draft(path)), read_mapping(EXAMPLES / f"{example}.toml")
    for part in ("patient", "date", "age", "sex", "outcome", "diagnosis"):
        assert getattr(drafted, part) == getattr(ours, part), part
    assert drafted.cost.column == ours.cost.column
    if example == "visits":
        levels = {level.name: level.when for level in ours.institution.level}
        assert {level.name: level.when for level in drafted.institution.level} == levels
        assert drafted.institution.specialty == ours.institution.specialty
        assert drafted.chronic == ours.chronic
    if example != "datasus_sih":  # which test_sih reads
        tables = [read_visits(path, mapping) for mapping in (drafted, ours)]
        for name in ("age", "female", "cost", "cross_district"):
            assert tables[0].frame[name].equals(tables[1].frame[name])


def test_a_folder_of_parts(tmp_path):
    table = visits()
    for i in range(2):
        table.iloc[i * 100 : (i + 1) * 100].to_csv(tmp_path / f"part{i}.csv", index=False)
    text = draft(tmp_path)
    assert "200 rows, 12 columns" in text
    assert parse_mapping(text).patient == "患者ID"


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("", "%Y-%m-%d"),
        ("", "%Y-%m-%d %H:%M:%S"),
        ("%Y%m%d", "%Y%m%d"),
        ("%Y/%m/%d", "%Y/%m/%d"),
        ("%d/%m/%Y", "%d/%m/%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%Y年%m月%d日", "%Y年%m月%d日"),
    ],
)
def test_dates(write, form, written):
    table = visits()
    table["就诊日期"] = pd.to_datetime(table["就诊日期"]).dt.strftime(written)
    path = write(table)
    mapping = parse_mapping(draft(path))
    assert mapping.date == Date("就诊日期", form)
    assert len(read_visits(path, mapping).frame) == 200


def test_typed_columns_of_a_parquet_file(write):
    table = visits(年龄=np.arange(200.0) % 90, 总费用=np.arange(200.0), 跨区=np.arange(200) % 2)
    table["就诊日期"] = pd.to_datetime(table["就诊日期"])
    table.loc[3, "年龄"] = np.nan
    table = table.drop(columns=["居住区县", "就诊区县"])
    mapping = parse_mapping(draft(write(table, ".parquet")))
    assert mapping.date == Date("就诊日期")
    assert (mapping.age.column, mapping.cost.column) == ("年龄", "总费用")
    assert (mapping.outcome.column, mapping.outcome.yes) == ("跨区", ("1",))


@pytest.mark.parametrize(
    ("codes", "female", "male"),
    [
        (("F", "M"), ["F"], ["M"]),
        (("Female", "Male", "Unknown"), ["Female"], ["Male"]),
        (("女性", "男性"), ["女性"], ["男性"]),
        (("2", "1", "9"), ["2"], ["1"]),
        (("3", "1"), ["3"], ["1"]),
        (("0", "1"), ["? female"], ["? male"]),
        (("2", "3"), ["? female"], ["? male"]),
        ((), ["? female"], ["? male"]),
    ],
)
def test_female_is_guessed_only_where_the_codes_are_clear(codes, female, male):
    sex = tomllib.loads(write([seen("sex", distinct=2, codes=codes)], "a.csv"))["sex"]
    assert sex == {"column": "sex", "female": female, "male": male}


def seen(
    name: str, distinct: int = 50, codes: tuple[str, ...] = (), letters: int = 0, **shares: float
) -> Seen:
    return Seen(name, 100, 100, distinct, dict.fromkeys(SHAPES, 0.0) | shares, letters, codes)


def test_age_needs_its_unit_or_a_birth():
    unit = seen("年龄单位", 3, ("岁", "月", "rare"))
    mapping = tomllib.loads(write([seen("年龄", age=1.0), unit], "a.csv"))
    assert mapping["age"]["units"] == {"岁": "years", "月": "months", "rare": "?"}
    datasus = seen("COD_IDADE", 4, ("4", "3", "2"))
    mapping = tomllib.loads(write([seen("IDADE", age=1.0), datasus], "a.csv"))
    assert mapping["age"]["units"] == {"4": "years", "3": "months", "2": "days"}
    mapping = tomllib.loads(write([seen("DOB", **{"%d/%m/%Y": 1.0})], "a.csv"))
    assert mapping["age"] == {"birth": "DOB", "birth_format": "%d/%m/%Y"}
    assert mapping["date"] == {"column": "? date"}


def test_a_name_is_no_diagnosis_and_each_column_has_one_part():
    columns = [
        seen("patient_age", age=1.0),
        seen("patient_sex", 2, ("F", "M")),
        seen("patient", letters=1, code=1.0),
        seen("what", letters=15, code=1.0),
        seen("stage", 3, ("1", "2", "3")),
        seen("diag_2", code=0.9),
    ]
    found, others, left = guess(columns)
    assert {name: column.name for name, column in found.items()} == {
        "age": "patient_age",
        "sex": "patient_sex",
        "patient": "patient",
        "diagnosis": "diag_2",
    }
    assert others == []
    assert [column.name for column in left] == ["what", "stage"]
    found, others, _ = guess([column for column in columns if column.name != "diag_2"])
    assert found["diagnosis"].name == "what"


# --- what is not ---


def test_placeholders_are_refused_by_name(write):
    path = write(pd.DataFrame({"aa": ["x", "y"], "bb": ["1", "2"]}))
    text = draft(path)
    mapping = parse_mapping(text)
    with pytest.raises(InputError) as caught:
        read_visits(path, mapping)
    for key in ("age.column", "sex.column", "outcome.residence", "outcome.place", "cost.column"):
        assert f"(named by '{key}'): missing" in str(caught.value)
    assert '# "aa": text, 0 % blank, about 2 different' in text
    assert '# "bb": numbers, 0 % blank, about 2 different' in text


def test_every_key_of_a_mapping_stands_in_the_draft(write):
    text = draft(write(pd.DataFrame({"aa": ["x"]})))
    assert max(map(len, text.splitlines())) <= 110
    switched_on = "\n".join(
        line.removeprefix("# ")
        for line in text.split("# Columns without")[0].splitlines()
        if " = " in line or line.startswith(("[", "# ["))
    )
    assert tomllib.loads(switched_on).keys() == {field.name for field in fields(Mapping)}


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        draft(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (duckdb.OutOfMemoryException("Out of Memory Error"), "the table does not fit; give a part of it"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full; make room"),
    ],
)
def test_advice_names_no_flag_that_a_draft_does_not_take(write, monkeypatch, error, advice):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr("jvade.data.draft.look", fail)
    with pytest.raises(InputError) as caught:
        draft(write(visits()))
    assert str(caught.value) == f"visits.csv: {advice}"


@pytest.mark.parametrize("rows", [0, 1])
def test_almost_no_rows(write, rows):
    for ending in (".csv", ".parquet"):
        parse_mapping(draft(write(visits().head(rows), ending)))


# --- no row's values ---


def test_no_value_of_a_row_and_no_rare_code_stands_in_a_draft(write):
    table = visits(备注=[f"{SECRET}{i}" for i in range(200)])
    table.loc[: SHARED - 2, "性别"] = SECRET + "1"
    table.loc[: SHARED - 2, "机构级别"] = SECRET + "2"
    table["年龄单位"] = ["岁"] * (200 - SHARED + 1) + [SECRET + "3"] * (SHARED - 1)
    text = draft(write(table))
    assert SECRET not in text
    assert "岁" in text
    shown = {"性别", "机构级别", "年龄单位"}
    for name in table.columns.drop(list(shown)):
        values = [value for value in table[name].unique() if len(value) > 3]
        assert [value for value in values if value in text] == []


def test_codes_that_many_rows_share_stand_there_only_where_a_mapping_lists_them(write):
    table = visits(
        患者ID=[f"{SECRET}{i % 20}" for i in range(200)], 医生=[f"{SECRET}{i % 3}" for i in range(200)]
    )
    table["就诊日期"] = "2024-03-03"
    text = draft(write(table))
    assert SECRET not in text
    assert "2024-03-03" not in text
    table["机构级别"] = ["common"] * (200 - SHARED) + ["seldom"] * SHARED
    assert 'when = { "机构级别" = ["seldom"] }' in draft(write(table))


# --- always TOML ---

WEIRD = [
    'a "b" c',
    "back\\slash",
    "# hash",
    "it's",
    "a=b",
    "[x]",
    "tab\there",
    "ß年龄 sex date",
    '"""',
    "{}",
    "\x7f",
]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_weird_names(write, ending):
    names = WEIRD if ending == ".csv" else [*WEIRD, "new\nline", "\r", "\x00\x01", "", " "]
    table = visits().rename(columns=dict(zip(visits().columns, names, strict=False)))
    table = table.assign(**dict.fromkeys(names, "1"))
    text = draft(write(table, ending))
    parse_mapping(text)
    assert all(quote(name) in text for name in names)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [name.removeprefix("=") for role in drafting.WORDS["role"].values() for name in role["names"]]
)
COLUMNS = st.builds(
    seen,
    NAMES,
    st.integers(0, 100),
    st.lists(st.text(min_size=1, max_size=5) | st.sampled_from("1234FM女是"), max_size=5, unique=True).map(
        tuple
    ),
    st.integers(0, 26),
    **{name: st.sampled_from([0.0, 0.5, 1.0]) for name in ("age", "number", "code", "%Y%m%d", "%d/%m/%Y")},
)


@settings(deadline=None)
@given(st.lists(COLUMNS, max_size=12, unique_by=lambda column: column.name), st.text(max_size=10))
@example([seen("?", 0, (), 0, **{"%d/%m/%Y": 1.0})], "")
def test_any_columns_give_a_mapping(columns, name):
    text = write(columns, name)
    # What the draft leaves open is the unit of an age; what it fills in is a column or says that it is none.
    units = re.compile("^units = .*$", re.MULTILINE)  # and no other line: a column may be called "?"
    mapping = parse_mapping(units.sub(lambda line: line[0].replace(' = "?"', ' = "years"'), text))
    named = {column.name for column in columns}
    assert all(column in named or column.startswith("? ") for column, _ in columns_used(mapping))
    assert all(quote(column.name) in text for column in columns)
