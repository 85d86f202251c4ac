import dataclasses

import numpy as np
import pandas as pd
import pytest

from jvade.data.errors import InputError
from jvade.data.features import read_visits
from jvade.data.mapping import Flag, History, Outcome, Sex, Subdistrict, parse_mapping
from jvade.data.variables import FIRST_VISIT, OUTCOME, STUDY_INPUTS, Dropped

NAN = float("nan")


def test_known_values(visits, mapping, write):
    table = read_visits(write(visits), mapping)
    expected = {
        "row": [1, 3, 4, 5, 6],
        "patient": [1, 1, 4, 4, 6],  # the row of each patient's first visit
        "cross_district": [False, False, True, False, False],
        "female": [1, 1, 0, 0, 1],
        "age": [60, 60, 31.5, 31.5, 5],
        "cost": [100.5, 80, 20, 30, 15],
        "hypertension": [1, 1, 0, 1, 0],
        "diabetes": [0, 0, 1, 1, 0],
        "visits_this_year": [0, 2, 0, 0, 0],  # the visit without a cost counts; a new year starts at 0
        "days_since_last_visit": [NAN, 56, NAN, 3, NAN],
        "crossed_before": [0, 1, 0, 1, 0],
        "first_visit": [1, 0, 1, 0, 1],
        "tertiary": [1, 0, 0, 0, 0],
        "secondary": [0, 0, 1, 0, 0],
        "community": [0, 1, 0, 1, 1],
        "specialty": [0, 0, 0, 0, 0],
        "subdistrict_s2": [0, 0, 1, 1, 0],
        "subdistrict_s3": [0, 0, 0, 0, 1],
        "circulatory": [1, 0, 0, 0, 0],
        "other_neoplasm": [0, 0, 0, 1, 0],
        "musculoskeletal": [0, 0, 0, 0, 0],
        "health_factors": [0, 1, 0, 0, 0],
        "waiting": [5, 7.5, 1, 2, 3],
        "emergency": [1, 0, 0, 0, 1],
        "payer_c": [0, 0, 1, 1, 0],
        "payer_d": [0, 0, 0, 0, 1],
        "home": ["A", "A", "A", "A", "B"],
        "hospital": ["h1", "h3", "h2", "h3", "h3"],
    }
    for name, values in expected.items():
        pd.testing.assert_series_equal(
            table.frame[name].astype(object), pd.Series(values, name=name, dtype=object), check_dtype=False
        )
    assert table.extras == ("date", "home", "hospital")
    assert table.levels == {"subdistrict": ("s1", "s2", "s3"), "payer": ("B", "C", "D")}
    account = table.account
    assert (account.rows_read, account.filtered_out, account.kept) == (7, 1, 5)
    assert account.dropped == (Dropped("column 'COST': no cost", 1, "2"),)
    assert account.notes["patients"] == 3
    assert account.notes["share of first visits"] == pytest.approx(0.6)
    assert account.notes["principal diagnosis codes that are not ICD-10"] == 1
    constant = [
        text for text in account.warnings if text.startswith("inputs that are the same in every visit")
    ]
    assert len(constant) == 1
    assert "specialty" in constant[0]


def test_inputs_stand_in_the_order_of_the_study_with_their_types(visits, mapping, write):
    table = read_visits(write(visits), mapping)
    study = [v.name for v in STUDY_INPUTS]
    order = [study.index(name) for name in table.names if name in study]
    assert order == sorted(order)
    assert table.names[-5:] == ["first_visit", "waiting", "emergency", "payer_c", "payer_d"]
    for variable in table.inputs:
        assert table.frame[variable.name].dtype == (np.float32 if variable.kind == "numeric" else np.uint8)
    assert table.inputs[table.names.index("payer_d")].label == "Payer: D"


def test_csv_and_parquet_give_equal_features(visits, mapping, write):
    typed = visits.assign(
        COST=visits["COST"].astype(float),
        AGE=visits["AGE"].astype(float),
        VISIT=visits["VISIT"].astype(int),
        DM=visits["DM"].astype(float),  # as pandas keeps whole numbers once a gap appears
        DAY=pd.to_datetime(visits["DAY"]).dt.date,
    )
    expected = read_visits(write(visits), mapping)
    paths = [write(f, e) for f in (visits, typed) for e in (".parquet", ".csv.gz")]
    semicolons = write(visits).with_name("semicolons.csv")
    visits.to_csv(semicolons, sep=";", index=False, encoding="utf-8-sig")
    odd_name = semicolons.with_name("visits [1]*.csv")
    visits.to_csv(odd_name)  # with the row index, whose column has no name
    paths += [semicolons, odd_name]
    for path in paths:
        table = read_visits(path, mapping)
        pd.testing.assert_frame_equal(table.frame, expected.frame)
        assert (table.inputs, table.account) == (expected.inputs, expected.account)


def test_without_patients_there_is_no_history(visits, mapping, write):
    table = read_visits(write(visits), dataclasses.replace(mapping, patient="", visit="", date=None))
    history = {"visits_this_year", "days_since_last_visit", "crossed_before", FIRST_VISIT.name, "patient"}
    assert not history & set(table.frame)
    assert table.frame["hypertension"].tolist() == [1, 0, 0, 1, 0]  # this visit's codes only
    assert any("no patient column" in text for text in table.account.warnings)


def test_one_patient_is_worth_a_warning(visits, mapping, write):
    table = read_visits(write(visits.assign(PERSON="p")), mapping)
    assert "all visits are of one patient; check the patient column" in table.account.warnings


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_outcome_that_is_the_same_in_every_visit_is_worth_a_warning(visits, mapping, write, ending):
    apart = "columns 'LIVES' and 'TREATED' share no code"
    for lives, treated, many, why in (
        (["A"] * 7, ["A"] * 7, "no", False),
        (["A"] * 7, ["A01"] * 7, "every", True),
        ([310101] * 7, ["310101000"] * 7, "every", True),
        (["A", "B"] * 3 + ["A"], ["B", "A"] * 3 + ["B"], "every", False),
    ):
        table = read_visits(write(visits.assign(LIVES=lives, TREATED=treated), ending), mapping)
        (told,) = (text for text in table.account.warnings if "crosses" in text)
        assert told.startswith(f"{many} visit crosses; check [outcome]")
        assert (apart in told) == why
    ready = dataclasses.replace(mapping, outcome=Outcome(column="STATUS", yes=("ok",)))
    assert "every visit crosses; check [outcome]" in read_visits(write(visits), ready).account.warnings
    assert not any("crosses" in text for text in read_visits(write(visits), mapping).account.warnings)


@pytest.mark.parametrize(
    ("unknown", "column", "ending"),
    [
        ("不详", "LIVES", ".csv"),
        ("Unknown", "TREATED", ".parquet"),
        ("9999", "TREATED", ".csv"),
        (999, "LIVES", ".parquet"),
        (999, "TREATED", ".csv"),
    ],
)
def test_an_area_that_reads_as_unknown_is_told(visits, mapping, write, ending, unknown, column):
    if isinstance(unknown, int):  # a column of whole numbers, where that ending keeps them
        visits = visits.assign(LIVES=range(100, 100 + len(visits)), TREATED=range(100, 100 + len(visits)))
    count = "visits whose residence or place reads as unknown"
    known = read_visits(write(visits, ending), mapping)
    assert known.account.notes[count] == 0
    assert not any("reads as unknown" in text for text in known.account.warnings)
    # The second row, which has no cost, is not among those that are told.
    for n_visits, many, places in ((1, "1 visit", (0, 1)), (2, "2 visits", (0, 1, 2))):
        areas = [unknown if place in places else area for place, area in enumerate(visits[column])]
        found = read_visits(write(visits.assign(**{column: areas}), ending), mapping)
        assert found.account.notes[count] == n_visits
        assert [text for text in found.account.warnings if "reads as unknown" in text] == [
            f"residence or place reads as unknown (such as 999 or 不详) in {many}, compared as if that were "
            "an area: leave them out with a [[filter]]"
        ]
        assert found.outcome[:n_visits].all()


def test_what_may_stand_for_the_unknown_is_counted(visits, mapping, write):
    """Years, ages and one patient of many visits; nobody is named."""
    table = read_visits(write(visits.replace({"AGE": {"5": "111", "31.5": "110"}})), mapping)
    lines = table.account.lines()
    for line in ("year of the first visit: 2023", "year of the last visit: 2024"):
        assert line in lines
    assert "visits at an age over 110 years: 1" in lines
    many = pd.concat([visits.iloc[[0]]] * 1000, ignore_index=True)
    many["PERSON"] = [f"p{i}" for i in range(1000)]
    many["DAY"] = ["2022-07-01", "2023-07-01", "2024-07-01", "2024-07-02"] * 250
    for visits_of_one, rows, warned in ((50, 1000, False), (51, 1000, True), (51, 999, False)):
        some = many.head(rows).copy()
        some.loc[: visits_of_one - 1, "PERSON"] = "QX7731"
        told = [text for text in read_visits(write(some), mapping).account.warnings if "one patient" in text]
        assert bool(told) == warned
        assert not warned or told[0].startswith("one patient has over 5% of all visits: if that")
        assert "QX7731" not in str(told)


def test_history_options(visits, mapping, write):
    options = History(first_visit=False, crossed_before_counts_this_visit=True)
    table = read_visits(write(visits), dataclasses.replace(mapping, history=options))
    assert table.frame["crossed_before"].tolist() == [0, 1, 1, 1, 0]
    assert "first_visit" not in table.names


def test_ready_outcome_and_age_units(visits, mapping, write):
    text = """
    age = { column = "AGE", unit_column = "SEX", units = { F = "months", M = "years over 100" } }
    sex = { column = "SEX", female = ["F"], male = ["M"] }
    outcome = { column = "STATUS", yes = ["v*"] }
    cost = { column = "COST", unit = "euro" }
    """
    table = read_visits(write(visits.replace({"AGE": {"31.5": "10"}})), parse_mapping(text))
    assert table.names == ["female", "age", "cost"]
    assert table.inputs[2].unit == "euro"
    np.testing.assert_allclose(table.frame["age"], [5, 5, 110, 110, 5 / 12, 5 / 12], rtol=1e-6)
    assert table.outcome.tolist() == [False] * 5 + [True]


def test_levels_of_an_earlier_file_give_its_inputs(visits, mapping, write):
    few = dataclasses.replace(mapping, subdistrict=Subdistrict("STREET", left_out="s3", max_levels=3))
    first = read_visits(write(visits), few)
    later = visits.assign(STREET=["s3", "s9", "s9", None, "s1", "s2", "s9"], PAYER="Z")
    with pytest.raises(InputError) as caught:
        read_visits(write(later), few, first.levels)
    assert caught.value.problems == tuple(
        f"column '{name}': 1 code that the first file did not have, in {rows}; "
        "correct them, or set 'unseen' to \"left out\" in its part of the mapping"
        for name, rows in (("STREET", "1 row"), ("PAYER", "5 rows"))
    )
    few = dataclasses.replace(
        few,
        subdistrict=dataclasses.replace(few.subdistrict, unseen="left out"),
        further=tuple(dataclasses.replace(part, unseen="left out") for part in few.further),
    )
    second = read_visits(write(later), few, first.levels)
    assert second.inputs == first.inputs
    assert second.levels == first.levels == {"subdistrict": ("s3", "s1", "s2"), "payer": ("B", "C", "D")}
    assert second.frame["subdistrict_s1"].tolist() == [0, 0, 0, 1, 0]
    assert not second.frame["payer_c"].any()


def test_rare_codes_are_pooled(visits, mapping, write):
    few = dataclasses.replace(mapping, subdistrict=Subdistrict("STREET", max_levels=2))
    table = read_visits(write(visits), few)
    assert table.levels["subdistrict"] == ("s1", "other")
    assert table.frame["subdistrict_other"].tolist() == [0, 0, 1, 1, 1]


def test_words_for_a_blank_are_blanks_in_text_unless_the_mapping_lists_them(visits, mapping, write):
    """NA is Naples, too; in a Parquet file a blank has a way of its own."""
    words = visits.assign(COST="NULL", DM="N/A", WAIT=[5, "NA", "\\N", "None", "<NA>", 3, 3])
    words.loc[[0, 2], "COST"] = "10"
    words["PAYER"] = ["NA", "NA", "B", "NULL", "B", "B", "B"]
    found = read_visits(write(words), mapping)
    assert found.account.dropped == (Dropped("column 'COST': no cost", 4, "2"),)
    assert found.frame["waiting"].isna().tolist() == [False, True]
    assert found.levels["payer"] == ("B",)
    (*others, payer) = mapping.further
    named = dataclasses.replace(payer, labels={"NA": "Naples"})
    found = read_visits(write(words), dataclasses.replace(mapping, further=(*others, named)))
    assert found.frame["payer_naples"].tolist() == [1, 0]
    typed = visits.assign(PAYER=words["PAYER"])
    assert "NULL" in read_visits(write(typed, ".parquet"), mapping).levels["payer"]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("true", "false"), ("True", "False")])
def test_columns_of_true_and_false_are_read_whatever_the_mapping_calls_yes(visits, mapping, write, yes, no):
    flags, women = visits["DM"] == "1", visits["SEX"] == "F"
    mapping = dataclasses.replace(
        mapping,
        chronic=dataclasses.replace(mapping.chronic, diabetes=Flag("DM", (yes,))),
        sex=Sex("SEX", (yes,), (no,)),
        outcome=Outcome(column="CROSSED", yes=(yes,)),
    )
    frame = read_visits(write(visits.assign(DM=flags, SEX=women, CROSSED=flags), ".parquet"), mapping).frame
    kept = frame["row"] - 1
    for name, expected in (("diabetes", flags), ("female", women), (OUTCOME, flags)):
        assert frame[name].nunique() == 2
        assert (frame[name] == expected[kept].to_numpy()).all()
