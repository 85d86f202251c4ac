"""What earlier visits say about a visit, against two computations that share nothing with ours."""

import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jvade.data import icd10
from jvade.data.district.tables import write
from jvade.data.features import read_visits
from jvade.data.mapping import parse_mapping, read_mapping
from jvade.data.variables import LEVELS, OUTCOME, STUDY_INPUTS

MAPPING = (Path(__file__).parent / "history.toml").read_text(encoding="utf-8")
DROPS = """
[checks]
patient = "drop"
date = "drop"
outcome = "drop"
age = "drop"
cost = "drop"
"""
CODES = ["I10", "I15.9", "E11", "E14", "J18", "I16", None]
CHRONIC = {"hypertension": "I1[0-5]", "diabetes": "E1[0-4]"}
NAMES = ["visits_this_year", "days_since_last_visit", "crossed_before", "first_visit", *CHRONIC]
SMALLER_TAKES_LONG = [Phase.explicit, Phase.reuse, Phase.generate]


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        phases=SMALLER_TAKES_LONG,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )


def read(frame: pd.DataFrame, mapping: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visits.csv"
        frame.to_csv(path, index=False)
        return read_visits(path, parse_mapping(mapping))


def slow_history(rows: list[dict]) -> dict[int, tuple]:
    """Tell each visit's history by looking at every earlier visit, row by row."""
    found = {}
    for row in rows:
        key = (row["D"], row["V"])
        before = [r for r in rows if r["P"] == row["P"] and (r["D"], r["V"]) < key]
        last = max(before, key=lambda r: (r["D"], r["V"]), default=None)
        codes = [icd10.category(r[c]) or "" for r in [*before, row] for c in "XY"]
        found[row["V"]] = (
            sum(r["D"].year == row["D"].year for r in before),
            (row["D"] - last["D"]).days if last else None,
            any(r["R"] != r["T"] for r in before),
            not before,
            any("I10" <= c <= "I15" for c in codes),
            any("E10" <= c <= "E14" for c in codes),
        )
    return found


@st.composite
def tables(draw) -> list[dict]:
    count = draw(st.integers(1, 25))
    order = draw(st.permutations(range(1, count + 1)))  # visit 10 comes after visit 9, and rows are shuffled
    days = st.integers(0, 3) | st.integers(0, 800)  # many on one day
    rows = [
        {
            "P": draw(st.sampled_from(["a", "b", "c"])),
            "V": visit,
            "D": date(2022, 11, 1) + timedelta(days=draw(days)),
            "R": "r",
            "T": draw(st.sampled_from(["r", "s"])),
            "C": draw(st.sampled_from([None, 1.5])),
            "X": draw(st.sampled_from(CODES)),
            "Y": draw(st.sampled_from(CODES)),
            "AGE": 40,
            "SEX": "F",
        }
        for visit in order
    ]
    rows[0]["C"] = 1.5  # at least one cost, else the file is refused
    return rows


@examples(8)
@given(tables())
def test_history_equals_a_slow_one(rows):
    table = read(pd.DataFrame(rows).assign(D=[row["D"].strftime("%d/%m/%Y") for row in rows]), MAPPING).frame
    assert table["row"].tolist() == [i + 1 for i, row in enumerate(rows) if row["C"] is not None]
    expected = slow_history(rows)
    got = table[NAMES].astype(object)
    got = got.where(got.notna(), None)
    for number, values in zip(table["row"], got.itertuples(index=False), strict=True):
        assert tuple(values) == expected[rows[number - 1]["V"]]


def by_pandas(frame: pd.DataFrame, form: str, has_visit: bool, inclusive: bool) -> tuple[pd.DataFrame, int]:
    """Return the kept visits with their histories, and how many rows were dropped."""
    told = frame.assign(row=np.arange(1, len(frame) + 1), moment=pd.to_datetime(frame["D"], format=form))
    told = told[told["P"].notna() & told["moment"].notna() & told["T"].notna()]
    if has_visit:  # numbers first, by value, then texts, then blanks; the file settles the rest
        digits = told["V"].where(told["V"].str.fullmatch("[0-9]+", na=False))
        told = told.assign(number=digits.astype(float))
        told = told.sort_values(["moment", "number", "V", "row"], na_position="last")
    else:
        told = told.sort_values(["moment", "row"])
    day, cross = told["moment"].dt.normalize(), told["R"] != told["T"]
    people = told["P"]
    so_far = cross.groupby(people).cumsum() - (0 if inclusive else cross)
    found = pd.DataFrame(
        {
            "row": told["row"],
            "patient": told["row"].groupby(people).transform("first"),
            "cross_district": cross,
            "visits_this_year": told.groupby([people, day.dt.year]).cumcount(),
            "days_since_last_visit": day.groupby(people).diff().dt.days,
            "crossed_before": so_far > 0,
            "first_visit": told.groupby(people).cumcount() == 0,
            "date": day.dt.date,
        }
    )
    for name, pattern in CHRONIC.items():
        now = told["X"].fillna("").str.match(pattern) | told["Y"].fillna("").str.match(pattern)
        found[name] = now.groupby(people).cummax()
    kept = found[told["C"].notna() & (told["AGE"] <= 130)].sort_values("row").reset_index(drop=True)
    return kept, len(frame) - len(kept)


def compare(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    for name in expected:
        pd.testing.assert_series_equal(got[name], expected[name], check_dtype=False)


@st.composite
def odd_tables(draw) -> tuple[pd.DataFrame, str, bool]:
    """Draw a table with ties, copies and faults, how it writes dates, and whether it has visit ids."""
    timed = draw(st.booleans())
    form = "%d/%m/%Y %H:%M:%S" if timed else "%d/%m/%Y"
    ids = draw(st.sampled_from(["numbers", "texts", "none"]))
    near, ends = st.integers(0, 2), st.sampled_from([60, 61, 425, 426, 790, 791])  # New Year's Eve and Day
    rows = []
    for i in range(draw(st.integers(1, 24))):
        moment = datetime(2021, 11, 1) + timedelta(days=draw(near | ends | st.integers(0, 1500)))
        if timed:
            moment += timedelta(
                hours=draw(st.sampled_from([0, 9, 23])), minutes=draw(st.sampled_from([0, 59]))
            )
        texts = ["1", "2", "9", "10", "x", "X", "a10", "a9", "é", None]
        faulty = draw(st.integers(0, 9))  # some rows leave before the histories are told, some after
        rows.append(
            {
                "P": None if faulty == 0 else draw(st.sampled_from("abcd")),
                "V": draw(st.sampled_from(texts)) if ids == "texts" else str(draw(st.integers(1, 12))),
                "D": "31/02/2022" if faulty == 1 else moment.strftime(form),
                "R": "r",
                "T": None if faulty == 2 else draw(st.sampled_from("rrs")),
                "C": 1.5 if i == 0 else draw(st.sampled_from([None, 1.5, 0, 20])),
                "X": draw(st.sampled_from(CODES)),
                "Y": draw(st.sampled_from(CODES)),
                "AGE": 999 if faulty == 3 else 40,
                "SEX": "F",
            }
        )
    good = {
        "P": "a",
        "V": "5",
        "D": datetime(2022, 1, 1).strftime(form),
        "R": "r",
        "T": "r",
        "C": 1.5,
        "AGE": 40,
    }
    rows.append(good | {"X": None, "Y": None, "SEX": "F"})
    rows += draw(st.lists(st.sampled_from(rows), max_size=4))  # copies
    frame = pd.DataFrame(rows).astype({"P": object, "V": object, "T": object, "X": object, "Y": object})
    return frame, form, ids != "none"


@examples(10)
@given(odd_tables(), st.booleans())
def test_history_equals_that_of_pandas(drawn, inclusive):
    frame, form, has_visit = drawn
    mapping = MAPPING.replace("%d/%m/%Y", form) + DROPS
    mapping = mapping if has_visit else mapping.replace('visit = "V"', "")
    mapping += "[history]\ncrossed_before_counts_this_visit = true" if inclusive else ""
    found = read(frame, mapping)
    rightful = frame.assign(D=frame["D"].where(frame["D"] != "31/02/2022"))
    expected, dropped = by_pandas(rightful, form, has_visit, inclusive)
    compare(found.frame, expected)
    account = found.account
    assert account.rows_read == len(frame)
    assert sum(drop.rows for drop in account.dropped) == dropped
    assert account.notes["patients"] == expected["patient"].nunique()
    assert any("crossed_before counts the visit itself" in text for text in account.warnings) == inclusive


@examples(5)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_the_file_makes_no_difference_where_visits_are_numbered(rows, chance):
    frame = pd.DataFrame(rows).assign(D=[row["D"].strftime("%d/%m/%Y") for row in rows])
    order = list(range(len(frame)))
    chance.shuffle(order)
    names = [*NAMES, OUTCOME, "age", "cost"]
    told = [
        read(some, MAPPING).frame.assign(V=lambda t, some=some: some["V"].to_numpy()[t["row"] - 1])
        for some in (frame, frame.iloc[order])
    ]
    one, other = (table.set_index("V").sort_index()[names] for table in told)
    pd.testing.assert_frame_equal(one, other)


def test_a_drop_before_and_one_after_the_history():
    frame = pd.DataFrame(
        {
            "P": "a",
            "V": [1, 2, 3],
            "D": "01/01/2024",
            "R": "r",
            "T": ["s", "r", "r"],
            "C": 1,
            "AGE": [999, 40, 40],
        }
    ).assign(X=None, Y=None, SEX="F")
    late = read(frame, MAPPING + DROPS).frame
    assert late["crossed_before"].tolist() == [1, 1]  # a wrong age is no reason to forget where the visit was
    early = read(frame.assign(AGE=40, P=[None, "a", "a"]), MAPPING + DROPS).frame
    assert early["crossed_before"].tolist() == [0, 0]
    assert early["visits_this_year"].tolist() == [0, 1]


def test_a_long_day_without_visit_numbers_is_in_the_order_of_the_file():
    chance = np.random.default_rng(2)
    frame = pd.DataFrame({"P": chance.choice(["a", "b", "c"], 30_000), "V": "", "D": "01/01/2024", "R": "r"})
    frame = frame.assign(T=chance.choice(["r", "s"], 30_000, p=[0.999, 0.001]), C=1, X=None, Y=None)
    frame = frame.assign(AGE=40, SEX="F")
    expected, dropped = by_pandas(frame, "%d/%m/%Y", has_visit=False, inclusive=False)
    assert dropped == 0
    compare(read(frame, MAPPING).frame, expected)


@pytest.fixture(scope="module")
def district(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("district") / "made"
    write(folder, 50_000, 7_800, seed=3)
    return folder


def test_a_simulated_district_equals_that_of_pandas(district):
    table = read_visits(district / "visits", read_mapping(district / "mapping.toml"))
    parts = [pd.read_parquet(part) for part in sorted((district / "visits").iterdir())]
    raw = pd.concat(parts, ignore_index=True)
    for name in ("sex", "residence", "diagnosis", "institution_id", "patient_id"):
        raw[name] = raw[name].astype(object)
    raw["row"] = np.arange(1, len(raw) + 1)
    raw[["date", "birth_date"]] = raw[["date", "birth_date"]].apply(pd.to_datetime)
    areas = pd.read_parquet(district / "areas.parquet").set_index("area")
    hospital = pd.read_parquet(district / "institutions.parquet").set_index("institution_id")
    hospital = hospital.loc[raw["institution_id"]].reset_index(drop=True)
    home, place = (areas.loc[codes].reset_index(drop=True) for codes in (raw["residence"], hospital["area"]))
    raw["cross"] = home["district"] != place["district"]

    told = raw.sort_values(["patient_id", "date", "visit_id"])
    people = told.groupby("patient_id", sort=False)
    had = told["birth_date"].dt.strftime("%m%d") <= told["date"].dt.strftime("%m%d")
    expected = pd.DataFrame(
        {
            "patient": people["row"].transform("first"),
            "female": told["sex"] == "F",
            "age": told["date"].dt.year - told["birth_date"].dt.year - (~had).astype(int),
            "cost": told["cost"].astype(np.float32),
            "hypertension": told["hypertension"] == 1,
            "diabetes": told["diabetes"] == 1,
            "visits_this_year": told.groupby(["patient_id", told["date"].dt.year], sort=False).cumcount(),
            "days_since_last_visit": people["date"].diff().dt.days,
            "crossed_before": people["cross"].cumsum() - told["cross"] > 0,
            OUTCOME: told["cross"],
        }
    ).sort_index()
    for variable in LEVELS:
        expected[variable.name] = hospital["level"] == variable.name
    expected["specialty"] = hospital["specialty"] == 1
    for i in range(1, 11):
        expected[f"subdistrict_{i:02d}"] = raw["residence"] == f"A{i:02d}"
    category = raw["diagnosis"].str[:3]
    for name, ranges in icd10.DIAGNOSIS_RANGES.items():
        expected[name] = np.logical_or.reduce([category.between(*range_) for range_ in ranges])
    expected = expected[raw["cost"].notna()].reset_index(drop=True)

    assert len(raw) > 45_000
    assert [v.name for v in STUDY_INPUTS] == table.names
    assert set(table.names) < set(expected)
    compare(table.frame, expected)
    assert table.account.kept == len(expected) < table.account.rows_read == len(raw)
    described = pd.DataFrame({"zone": home["zone"], "destination": place["destination"]})
    described = described[raw["cost"].notna()].reset_index(drop=True)
    for name in described:
        got = table.frame[name].astype(object)
        pd.testing.assert_series_equal(got, described[name].astype(object), check_dtype=False)
