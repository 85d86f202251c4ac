"""The simulated district: what is drawn, what is written, and how near it comes to Table 7."""

import hashlib
from datetime import date

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from jvade.analysis import fidelity
from jvade.data import icd10, published
from jvade.data.district import calibration, choices, codes, draw, places, tables, visiting
from jvade.data.district.inputs import inputs
from jvade.data.errors import InputError
from jvade.data.variables import DIAGNOSES, LEVELS, OUTCOME, STUDY_INPUTS

STUDY = (3_650_000, 570_000)
MEANS = published.type_means()
SHARES = MEANS.loc["share_of_visits"].to_numpy() / 100
SUBDISTRICTS = [f"subdistrict_{i:02d}" for i in range(1, 11)]


def frame(n_visits, n_patients, seed=1):
    drawn = [inputs(block) for block in draw.blocks(n_visits, n_patients, seed)]
    return pd.concat(drawn, ignore_index=True)


@pytest.fixture(scope="module")
def district():
    """A fifth of the study's district: one whole block and a part of another."""
    return frame(730_000, 114_000)


@pytest.fixture(scope="module")
def plan():
    return calibration.plan(STUDY[0] / STUDY[1])


# --- the equations: identities, without any draw ---


def test_visit_shares_and_every_mean_survive_the_mixing_of_types():
    types = visiting.mixing(SHARES)
    np.testing.assert_allclose(types.sum(axis=1), 1)
    np.testing.assert_allclose(SHARES @ types, SHARES)
    joint = SHARES[:, None] * types
    np.testing.assert_allclose(joint, joint.T)  # so it is the chance of the home by type, too
    assert types[1, 3] == types[3, 1] == 0  # the young are not among the old
    assert types.diagonal().min() > choices.STAY


@pytest.mark.parametrize("ratio", [STUDY[0] / STUDY[1], 2.0, 20.0])
def test_visits_per_patient_and_running_counts(ratio):
    plan = calibration.plan(ratio)
    n = np.arange(1, len(plan.visits) + 1)
    patients = np.diff(plan.visits, prepend=0)[:, None] * plan.homes
    assert (n @ patients).sum() == pytest.approx(ratio, rel=1e-6)
    np.testing.assert_allclose(n @ patients / ratio, SHARES, rtol=1e-6)
    running = plan.types @ ((n * (n - 1) / 2) @ patients / (n @ patients))
    published_counts = MEANS.loc["visits_this_year"].to_numpy()
    if ratio == STUDY[0] / STUDY[1]:
        np.testing.assert_allclose(running, published_counts, rtol=1e-5)
    else:  # all multiplied alike
        factor = running / published_counts
        np.testing.assert_allclose(factor, factor[0], rtol=1e-5)


def test_crossed_before_formula_against_a_naive_simulation():
    rng = np.random.default_rng(0)
    shape, further = np.array([0.4, 3.0]), np.array([5.0, 20.0])
    chance = np.stack([np.linspace(0, 0.3, 32), np.linspace(0.1, 0.9, 32) ** 2])
    expected = visiting.crossed_before(chance, shape, further)
    for home in (0, 1):
        before, visits = [], []
        for n in 1 + stats.nbinom.rvs(
            shape[home], shape[home] / (shape[home] + further[home]), size=20_000, random_state=rng
        ):
            crossed = rng.random(n) < rng.choice(chance[home])
            before.append(n - 1 - np.argmax(crossed) if crossed.any() else 0)
            visits.append(n)
        share = np.sum(before) / np.sum(visits)
        error = np.sqrt(np.sum((np.array(before) - share * np.array(visits)) ** 2)) / np.sum(visits)
        assert share == pytest.approx(expected[home], abs=4 * error)
        assert error < 0.01


def test_crossing_chances_meet_cross_rates_and_crossed_before(plan):
    np.testing.assert_allclose(plan.cross.mean(axis=1), MEANS.loc[OUTCOME] / 100)
    assert (np.diff(plan.cross, axis=1) >= 0).all()
    running = np.linalg.solve(plan.types, MEANS.loc["visits_this_year"].to_numpy())
    counts = visiting.visit_counts(SHARES, running, STUDY[0] / STUDY[1])
    before = plan.types @ visiting.crossed_before(plan.types @ plan.cross, *counts)
    np.testing.assert_allclose(before, MEANS.loc["crossed_before"] / 100, atol=1e-8)


def test_places_meet_levels_specialties_and_destinations(plan):
    crossed = MEANS.loc[OUTCOME].to_numpy() / 100
    share = np.stack([1 - crossed, crossed], axis=1)[:, :, None, None] * plan.places.reshape(7, 2, 4, 7)
    share = share.sum(axis=1)
    for level in (v.name for v in LEVELS):
        columns = [i for i, (name, _) in enumerate(choices.KINDS) if name == level]
        found = share[:, :, columns].sum(axis=(1, 2))
        np.testing.assert_allclose(100 * found, MEANS.loc[level], atol=0.1)  # Table 7 sums to 100.1
    special = share[:, :, [i for i, (_, flag) in enumerate(choices.KINDS) if flag]].sum(axis=(1, 2))
    np.testing.assert_allclose(100 * special, MEANS.loc["specialty"], atol=0.1)
    for i, name in enumerate(choices.DESTINATIONS, start=1):
        found = share[:, i].sum(axis=1) / crossed
        np.testing.assert_allclose(100 * found, MEANS.loc[name], atol=0.1)
    assert not share[:, choices.INSTITUTIONS == 0].any()


def test_raking_keeps_odds_and_sums():
    odds = np.array([[1.0, 2.0, 0.0], [3.0, 1.0, 1.0]])
    table = calibration.rake(odds, np.array([0.4, 0.6]), np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(table.sum(axis=1), [0.4, 0.6])
    np.testing.assert_allclose(table.sum(axis=0), [0.5, 0.3, 0.2])
    assert table[0, 2] == 0
    ratio = (table[0, 0] * table[1, 1]) / (table[0, 1] * table[1, 0])
    assert ratio == pytest.approx(1 * 1 / (2 * 3))


def test_age_and_zones_of_home_types(plan):
    middle = (plan.age[:, 1:] + plan.age[:, :-1]).mean(axis=1) / 2
    np.testing.assert_allclose(plan.types @ middle, MEANS.loc["age"], atol=0.01)
    assert plan.age[2, 300] < 15  # a seventh of home type 3 are children
    zone = np.array([zone for zone, _ in choices.SUBDISTRICTS.values()])
    for name in choices.ZONES:
        share = 100 * plan.types @ plan.residence[:, zone == name].sum(axis=1)
        np.testing.assert_allclose(share, MEANS.loc[name], atol=0.1)


# --- Table 7 of what is drawn ---


def standard_error(values, patients):
    """Standard error of a mean over visits: residuals are summed per patient, as patients are the sample."""
    known = ~np.isnan(values)
    residual = np.where(known, values - values[known].mean(), 0)
    return np.sqrt(np.sum(np.bincount(patients, residual) ** 2)) / known.sum()


def test_fidelity_of_a_fifth_of_the_district(district):
    """Every number within the stated limit plus four standard errors."""
    types, patients = district["planted_type"].to_numpy(), district["patient"].to_numpy()
    table = published.load("table7_profiles")
    found = fidelity.compare(district, types, table, patients).cells
    crossed = district[OUTCOME].to_numpy()
    for cell in found.itertuples():
        if cell.group == "share":
            values = (types == int(cell.column)).astype(float) if cell.column != "overall" else None
            chosen = np.ones(len(types), bool)
        else:
            chosen = crossed if cell.group == "destination" else np.ones(len(types), bool)
            if cell.column != "overall":
                chosen = chosen & (types == int(cell.column))
            extra = {"residence": "zone", "destination": "destination"}.get(cell.group)
            column = district[extra] == cell.variable if extra else district[cell.variable]
            values = column.to_numpy(float)
        if values is None:
            continue
        error = standard_error(values[chosen], patients[chosen])
        error *= 100 if cell.unit.startswith("percent") else 1
        assert abs(cell.difference) <= cell.allowed + 4 * error, cell


@pytest.mark.long
def test_fidelity_of_the_whole_district_and_its_history():
    """At the size of the study every published number is within its stated limit, sampling included."""
    needed = [
        "patient",
        "planted_type",
        "zone",
        "destination",
        *published.load("table7_profiles")["variable"],
    ]
    parts = [inputs(block) for block in draw.blocks(*STUDY, seed=42)]
    whole = pd.concat([part[[n for n in needed if n in part]] for part in parts], ignore_index=True)
    types, patients = whole["planted_type"].to_numpy(), whole["patient"].to_numpy()
    found = fidelity.compare(whole, types, published.load("table7_profiles"), patients)
    assert found.within, found.cells[~found.cells["within"]]
    assert len(found.cells) == 33 * 8
    assert found.readings["within"].to_dict() == {"published": True, "strict": True, "inclusive": False}
    assert found.notes["visits"] == pytest.approx(STUDY[0], rel=0.0005)
    assert found.notes["patients"] == STUDY[1]
    # A running count of 9.3 with 6.4 visits per patient: sd^2 = 6.4 * (2 * 9.3 + 1) - 6.4^2.
    assert found.notes["visits per patient, standard deviation"] == pytest.approx(9.2, abs=0.05)
    assert found.notes["percent of visits that are a patient's first"] == pytest.approx(15.6, abs=0.05)
    assert found.notes["percent of visits without a cost"] == pytest.approx(1.8, abs=0.04)


@pytest.mark.parametrize(("n_visits", "n_patients"), [(200_000, 31_233), (20_000, 3_123), (30_000, 15_000)])
@pytest.mark.parametrize("seed", [1, 42])
def test_total_of_visits_is_what_was_asked_for(n_visits, n_patients, seed):
    total = sum(len(block.patient) for block in draw.blocks(n_visits, n_patients, seed))
    assert total == pytest.approx(n_visits, rel=0.005)


# --- patients, visits, history ---


def test_is_a_whole_table_of_inputs(district):
    names = [v.name for v in STUDY_INPUTS]
    assert set(names) | {OUTCOME, "zone", "destination", "patient", "planted_type"} == set(district)
    kinds = {v.name: np.float32 if v.kind == "numeric" else np.uint8 for v in STUDY_INPUTS}
    assert {name: district[name].dtype for name in names} == kinds
    missing = district[names].isna().any()
    assert missing[missing].index.tolist() == ["cost", "days_since_last_visit"]


def test_flags_that_exclude_each_other(district):
    assert (district[[v.name for v in LEVELS]].sum(axis=1) == 1).all()
    assert (district[[v.name for v in DIAGNOSES]].sum(axis=1) <= 1).all()
    assert (district[SUBDISTRICTS].sum(axis=1) <= 1).all()
    assert not (district["specialty"] & district["community"]).any()
    assert (district["destination"].notna() == district[OUTCOME]).all()


def test_diagnoses_fit_the_patient(district):
    pregnant = district[district["pregnancy"] == 1]
    assert len(pregnant) > 500
    assert pregnant["female"].all()
    assert pregnant["age"].between(15, 49).all()
    newborn = district[district["perinatal"] == 1]
    assert len(newborn) > 30
    assert (newborn["age"] < 2).all()
    rates = district.groupby("hypertension")["circulatory"].mean()
    assert rates[1] > 1.5 * rates[0]
    assert district.loc[district["age"] < 15, "circulatory"].mean() < 0.01
    types = district.groupby("planted_type")
    for name, percents in choices.UNPUBLISHED.items():
        share = np.array(percents) / 100
        error = np.sqrt(share * (1 - share) / types.size())
        assert (np.abs(types[name].mean() - share) <= 4 * error).all()


def test_codes_are_real_and_of_their_chapter():
    assert len(set(codes.NAMES)) == len(codes.NAMES)
    for chapter, weights in choices.CODES.items():
        for code in weights:
            flags = [n for n, r in icd10.DIAGNOSIS_RANGES.items() if icd10.in_ranges(icd10.category(code), r)]
            assert flags == ([] if chapter == "no flag" else [chapter]), code
    assert {"I10.x00", "C16.900x001", "J06.900"} < set(codes.NAMES)


def test_conditions_and_age_go_together(district):
    people = district.drop_duplicates("patient")
    old = people[people["planted_type"] >= 4]
    assert old["age"].corr(old["hypertension"]) > 0.2
    assert old["age"].corr(old["diabetes"]) > 0.1
    assert old["hypertension"].corr(old["diabetes"]) > 0.1
    assert people["age"].between(0, 105).all()


def test_who_comes_often_comes_soon_again(district):
    later = district.dropna(subset="days_since_last_visit")
    assert later["days_since_last_visit"].between(0, 365).all()
    assert (later["days_since_last_visit"] == 0).mean() > 0.005  # several visits on one day
    counts = district.groupby("patient").agg(n=("patient", "size"), gap=("days_since_last_visit", "mean"))
    assert counts["n"].corr(counts["gap"], method="spearman") < -0.5
    first = district["visits_this_year"] == 0
    assert (district["days_since_last_visit"].isna() == first).all()
    assert not district.loc[first, "crossed_before"].any()


def test_a_patients_number_says_nothing(district):
    counts = district.groupby("patient").size().to_numpy()
    numbers = np.arange(1, len(counts) + 1)
    for split in (numbers % 2 == 0, numbers % 4 == 0, numbers <= len(numbers) / 2):
        error = np.sqrt(counts.var() * (1 / split.sum() + 1 / (~split).sum()))
        assert abs(counts[split].mean() - counts[~split].mean()) < 4 * error


@pytest.mark.long
def test_a_classifier_can_tell_types_apart_but_not_too_well(district):
    """The ceiling of any clustering, on patients the classifier has not seen; see benchmarks/ceiling.py."""
    some = district[district["patient"] <= 30_000]
    x = some[[v.name for v in STUDY_INPUTS]].to_numpy(np.float32)
    types, shown = some["planted_type"].to_numpy(), some["patient"].to_numpy() % 2 == 0
    model = HistGradientBoostingClassifier(
        max_iter=25,
        learning_rate=0.25,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        l2_regularization=200,
        early_stopping=False,
        random_state=0,
    )
    with threadpool_limits(1):
        named = model.fit(x[shown], types[shown]).predict(x[~shown])
    found = adjusted_rand_score(types[~shown], named)
    assert 0.50 < found < 0.65


# --- seeds and prefixes ---


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "cost")
        for name in one.__dataclass_fields__
        if name != "patients"
    )


def test_fewer_patients_are_the_first_of_many():
    small = next(draw.blocks(36_500, 5_700, seed=3))
    large = next(draw.blocks(365_000, 57_000, seed=3))
    assert len(large.patients.number) == 57_000
    assert same(small, large.first(5_700))
    for name in small.patients.__dataclass_fields__:
        assert np.array_equal(getattr(small.patients, name), getattr(large.patients, name)[:5_700])


def test_a_block_can_be_drawn_without_the_ones_before(plan):
    second = list(draw.blocks(730_000, 114_000, seed=3))[1]
    assert same(second, draw.block(plan, 3, 1).first(114_000 - draw.BLOCK))


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.parquet")
    }


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(draw, "BLOCK", 1024)


@pytest.mark.usefixtures("small_blocks")
def test_same_bytes_again_and_same_parts_first(tmp_path):
    seen = []
    for name, patients, seed in (("a", 3_420, 1), ("b", 3_420, 1), ("fewer", 2_280, 1), ("other", 3_420, 2)):
        tables.write(tmp_path / name, patients * 365 // 57, patients, seed, lambda *step: seen.append(step))
    assert seen[:5] == [(0, 3420), (1024, 3420), (2048, 3420), (3072, 3420), (3420, 3420)]
    a, b, fewer, other = (digests(tmp_path / name) for name in ("a", "b", "fewer", "other"))
    assert a == b
    assert len(a) == 4 + 3
    first = ["visits/part-0000.parquet", "visits/part-0001.parquet"]
    assert [a[name] for name in first] == [fewer[name] for name in first]
    assert a["visits/part-0002.parquet"] != fewer["visits/part-0002.parquet"]
    assert a["areas.parquet"] == other["areas.parquet"]
    assert a["visits/part-0000.parquet"] != other["visits/part-0000.parquet"]


# --- the files ---


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "district"
    assert tables.write(folder, 9_600, 1_500, seed=5).parts == 1
    return folder


def test_columns_types_and_order(raw):
    part = pq.ParquetFile(raw / "visits" / "part-0000.parquet")
    assert dict(zip(part.schema_arrow.names, map(str, part.schema_arrow.types), strict=True)) == {
        "visit_id": "int64",
        "patient_id": "string",
        "date": "date32[day]",
        "birth_date": "date32[day]",
        "sex": "string",
        "residence": "string",
        "institution_id": "string",
        "cost": "double",
        "diagnosis": "string",
        "hypertension": "int8",
        "diabetes": "int8",
    }
    visits = part.read().to_pandas()
    assert visits["visit_id"].is_unique
    order = visits[["date", "visit_id"]].apply(tuple, axis=1)
    assert order.is_monotonic_increasing
    assert visits["patient_id"].str.fullmatch(r"P\d{7}").all()
    assert visits["patient_id"].nunique() == 1_500
    assert set(visits["sex"]) == {"F", "M"}
    assert set(visits["residence"]) == set(choices.SUBDISTRICTS)
    assert visits.drop(columns="cost").notna().all(axis=None)
    assert np.array_equal(visits["cost"].round(2), visits["cost"], equal_nan=True)
    assert visits["cost"].isna().mean() == pytest.approx(0.018, abs=0.006)
    assert (visits["birth_date"] < visits["date"]).all()
    assert {d.year for d in visits["date"]} == {2024}
    truth = pq.read_table(raw / "truth.parquet")
    assert truth.schema.names == ["visit_id", "planted_type"]
    assert str(truth.schema.field("planted_type").type) == "int8"
    assert truth["visit_id"].to_pylist() == visits["visit_id"].tolist()


def test_places(raw):
    areas = pd.read_parquet(raw / "areas.parquet")
    home = areas["district"] == "A"
    assert home.sum() == 11
    assert set(areas.loc[home, "zone"]) == {"inner", "middle", "outer"}
    assert areas.loc[home, "destination"].isna().all()
    assert areas.loc[~home, "zone"].isna().all()
    assert set(areas.loc[~home, "destination"]) == {"city_centre", "adjacent_suburb", "non_adjacent_suburb"}
    institutions = pd.read_parquet(raw / "institutions.parquet")
    assert list(institutions) == ["institution_id", "area", "level", "specialty"]
    assert institutions["institution_id"].is_unique
    assert set(institutions["area"]) <= set(areas["area"])
    assert set(institutions["level"]) == {v.name for v in LEVELS}
    centres = institutions[institutions["level"] == "community"]
    assert set(choices.SUBDISTRICTS) <= set(centres["area"])


def test_visits_stay_near_when_they_can():
    block = next(draw.blocks(36_500, 5_700, seed=3))
    area = places.institutions()["area"].to_numpy()[block.institution]
    own = np.array(list(choices.SUBDISTRICTS))[block.patients.subdistrict[block.patient]]
    level = places.institutions()["level"].to_numpy()[block.institution]
    centre = (level == "community") & ~block.crossed
    assert (area == own)[centre].mean() > choices.OWN_SUBDISTRICT
    usual = pd.DataFrame({"who": block.patient, "at": block.institution})[centre]
    assert usual.groupby("who")["at"].agg(lambda at: at.value_counts(normalize=True).iloc[0]).mean() > 0.8


def test_inputs_are_what_the_raw_tables_say(raw):
    """A slow and plain reading of the files, against the inputs of the block they were written from."""
    visits = pd.read_parquet(raw / "visits" / "part-0000.parquet")
    visits = visits.merge(pd.read_parquet(raw / "truth.parquet"), on="visit_id")
    areas = pd.read_parquet(raw / "areas.parquet").set_index("area")
    pool = pd.read_parquet(raw / "institutions.parquet").set_index("institution_id")
    level, specialty = pool["level"].to_dict(), pool["specialty"].to_dict()
    at = visits["institution_id"].map(pool["area"])
    visits["crosses"] = at.map(areas["district"]) != visits["residence"].map(areas["district"])
    visits["destination"] = at.map(areas["destination"])
    rows = []
    for _, history in visits.sort_values(["patient_id", "date", "visit_id"]).groupby("patient_id"):
        crossed, last = False, None
        for turn, visit in enumerate(history.to_dict("records")):
            born: date = visit["birth_date"]
            had = (visit["date"].month, visit["date"].day) >= (born.month, born.day)
            rows.append(
                {
                    "female": visit["sex"] == "F",
                    "age": visit["date"].year - born.year - (not had),
                    "cost": visit["cost"],
                    "visits_this_year": turn,
                    "days_since_last_visit": np.nan if last is None else (visit["date"] - last).days,
                    "crossed_before": crossed,
                    "hypertension": visit["hypertension"],
                    "diabetes": visit["diabetes"],
                    "specialty": specialty[visit["institution_id"]],
                    "subdistrict_03": visit["residence"] == "A03",
                    "planted_type": visit["planted_type"],
                    "patient": int(visit["patient_id"][1:]),
                    OUTCOME: visit["crosses"],
                }
                | {n: level[visit["institution_id"]] == n for n in (v.name for v in LEVELS)}
                | {
                    n: icd10.in_ranges(icd10.category(visit["diagnosis"]), r)
                    for n, r in icd10.DIAGNOSIS_RANGES.items()
                }
            )
            crossed, last = crossed or visit["crosses"], visit["date"]
    expected = pd.DataFrame(rows)
    found = frame(9_600, 1_500, seed=5)
    assert len(found) == len(expected) > 9_000
    np.testing.assert_allclose(found[list(expected)].to_numpy(float), expected.to_numpy(float), rtol=1e-6)
    by_patient = visits.sort_values(["patient_id", "date", "visit_id"])
    assert found["zone"].tolist() == by_patient["residence"].map(areas["zone"]).tolist()
    assert found["destination"].dropna().tolist() == by_patient["destination"].dropna().tolist()


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 0, 1), "n_patients: expected at least 1, got 0"),
        ((0, 10, 1), "n_visits: expected at least 1, got 0"),
        ((100, 10, -1), "seed: expected at least 0, got -1"),
        ((10, 10, 1), "visits per patient: expected 1.01 to 50.0, got 1"),
        ((1000, 10, 1), "visits per patient: expected 1.01 to 50.0, got 100"),
        ((60_000_000, 10_000_000, 1), "n_patients: expected at most 9,999,999, got 10,000,000"),
    ],
)
def test_bad_numbers(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw.blocks(*arguments)
    with pytest.raises(ValueError, match=message):
        tables.write(tmp_path / "new", *arguments)
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("small_blocks")
def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        tables.write(tmp_path, 640, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="expected a new or empty folder"):
        tables.write(tmp_path / "mine.txt", 640, 100)
    (tmp_path / "empty").mkdir()
    assert tables.write(tmp_path / "empty", 640, 100).patients == 100


@pytest.mark.usefixtures("small_blocks")
def test_what_is_interrupted_leaves_nothing(tmp_path):
    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tables.write(tmp_path / "half", 12_800, 2_000, progress=stop)
    assert not any(tmp_path.iterdir())
