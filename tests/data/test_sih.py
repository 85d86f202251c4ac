"""The example mapping on real admissions, against an independent computation in pandas."""

from pathlib import Path

import pandas as pd
import pytest

from jvade.data.features import read_visits
from jvade.data.mapping import read_mapping

EXAMPLE = Path(__file__).parents[2] / "examples" / "datasus_sih.toml"


@pytest.fixture(scope="module")
def admissions(real_data) -> Path:
    path = real_data / "sih_sp_2023" / "admissions.parquet"
    if not path.is_file():
        pytest.skip("the hospital admissions are not among the real data")
    return path


@pytest.fixture(scope="module")
def table(admissions):
    return read_visits(admissions, read_mapping(EXAMPLE))


@pytest.fixture(scope="module")
def raw(admissions) -> pd.DataFrame:
    frame = pd.read_parquet(admissions)
    frame["row"] = range(1, len(frame) + 1)
    frame = frame[frame["IDENT"] != "5"].copy()
    frame["date"] = pd.to_datetime(frame["DT_INTER"], format="%Y%m%d")
    frame["cross"] = frame["MUNIC_RES"] != frame["MUNIC_MOV"]
    return frame.sort_values(["PATIENT_KEY", "date", "row"])


def test_account(table):
    account = table.account
    assert account.rows_read == 412_724
    assert account.filtered_out == 9_459
    assert account.kept == 403_265
    assert account.warnings == []
    assert account.notes["patients"] < account.kept


def test_history_and_chronic_conditions(table, raw):
    people = raw.groupby("PATIENT_KEY", sort=False)
    codes = raw[["DIAG_PRINC", *(f"DIAGSEC{i}" for i in range(1, 6))]].fillna("").astype(str)
    expected = pd.DataFrame(
        {
            "row": raw["row"],
            "visits_this_year": raw.groupby(["PATIENT_KEY", raw["date"].dt.year], sort=False).cumcount(),
            "days_since_last_visit": people["date"].diff().dt.days,
            "crossed_before": people["cross"].cumsum() - raw["cross"] > 0,
            "first_visit": people.cumcount() == 0,
        }
    )
    for name, pattern in {"hypertension": "I1[0-5]", "diabetes": "E1[0-4]"}.items():
        now = pd.concat([codes[c].str.match(pattern) for c in codes], axis=1).any(axis=1)
        expected[name] = now.groupby(raw["PATIENT_KEY"], sort=False).cummax()
    expected = expected.sort_values("row").reset_index(drop=True)
    for name in expected.columns.drop("row"):
        pd.testing.assert_series_equal(table.frame[name], expected[name], check_dtype=False)


def test_other_columns(table, raw):
    raw = raw.sort_values("row").reset_index(drop=True)
    frame = table.frame
    assert frame["row"].equals(raw["row"])
    assert (frame["cross_district"] == raw["cross"]).all()
    assert (frame["female"] == (raw["SEXO"] == "3")).all()
    times = raw["COD_IDADE"].map({"2": 1 / 365.25, "3": 1 / 12, "4": 1, "5": 1})
    years = raw["IDADE"] * times + 100 * (raw["COD_IDADE"] == "5")
    assert (frame["age"] - years).abs().max() < 1e-5
    levels = ["high_complexity", "public_hospital", "company_hospital", "non_profit_hospital"]
    assert (frame[levels].sum(axis=1) == 1).all()
    assert (frame["high_complexity"] == (raw["COMPLEX"] == "03")).all()
    assert (frame["pregnancy"] == raw["DIAG_PRINC"].str.startswith("O")).all()
    assert (frame["bed_surgery"] == (raw["ESPEC"] == "01")).all()
    assert (frame["urgent"] == (raw["CAR_INT"] != "01")).all()
    assert (frame["days_of_stay"] == raw["DIAS_PERM"]).all()
