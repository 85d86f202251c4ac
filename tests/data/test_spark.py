"""Spark gives what DuckDB gives: the same features, the same account, the same words about a broken file."""

import dataclasses
import gzip
import os
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jvade.data.engines import EngineSettings, connect, readable
from jvade.data.errors import InputError
from jvade.data.features import load, write_features
from jvade.data.mapping import Mapping, Subdistrict, parse_mapping, read_mapping

if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
    pytest.skip("Spark needs Java: no java on the path, and no JAVA_HOME", allow_module_level=True)
pytest.importorskip("pyspark", reason="pyspark is not installed; it comes with the extra 'spark'")

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("session"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # PySpark 4.0 beside pandas 3
    pytest.mark.filterwarnings("ignore:The .future.infer_string. option is deprecated"),  # and Ibis 12
    # The sockets on which PySpark fetches results are left to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

ENGINE = EngineSettings(engine="local[2]")
EXAMPLE = Path(__file__).parents[2] / "examples" / "datasus_sih.toml"
SECRET = "QX7731"  # stands in the rows; must never stand in a message


@pytest.fixture(scope="module")
def session():
    """A small Spark that no one else reaches; the engine takes it up."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        settings = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": "3",  # more than one: rows do get mixed up
            "spark.sql.codegen.wholeStage": "false",  # these tables are small: compiling takes longest
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.sql.session.timeZone": "America/Sao_Paulo",  # of the user; no date may hang on it
        }
        builder = SparkSession.builder.master("local[2]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


def read(path, mapping, levels=None, settings=None):
    """Return the features of a table, and their scaling."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "features.parquet"
        features = write_features(path, mapping, out, levels, settings)
        return load(out, features), features.scaling


def same(path: Path, mapping: Mapping, levels=None):
    """Return what both engines read, once it is equal."""
    (expected, scaling), (got, other) = read(path, mapping, levels), read(path, mapping, levels, ENGINE)
    pd.testing.assert_frame_equal(got.frame, expected.frame)
    assert (got.inputs, got.extras, got.levels) == (expected.inputs, expected.extras, expected.levels)
    notes = {name: pytest.approx(value, rel=1e-12) for name, value in expected.account.notes.items()}
    assert got.account == dataclasses.replace(expected.account, notes=notes)
    assert (other.names, other.kinds, other.constant) == (scaling.names, scaling.kinds, scaling.constant)
    np.testing.assert_allclose(other.means, scaling.means, rtol=1e-9)
    np.testing.assert_allclose(other.scales, scaling.scales, rtol=1e-9)
    return got


def refused(path: Path, mapping: Mapping, levels=None) -> str:
    """Return what both engines say about a table."""
    texts = []
    for settings in (None, ENGINE):
        with pytest.raises(InputError) as caught:
            read(path, mapping, levels, settings)
        assert caught.value.__cause__ is None
        assert SECRET not in str(caught.value)
        texts.append(str(caught.value))
    assert texts[1] == texts[0]
    return texts[0]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", " [1]*{a} 5%é.csv"])
def test_one_file(visits, mapping, write, ending):
    assert len(same(write(visits, ending), mapping).frame) == 5


@pytest.mark.parametrize("unit", ["us", "ns", "ms"])
def test_typed_columns(visits, mapping, write, unit):
    visits.loc[1, "DAY"] = "2024-01-05 23:59:59"
    visits.loc[4, "DAY"] = "1950-01-01 00:00:00"
    typed = visits.assign(
        COST=visits["COST"].astype(float),
        AGE=visits["AGE"].astype("float32"),
        VISIT=visits["VISIT"].astype("uint8"),
        DM=visits["DM"].astype(float),
        GRADE=visits["GRADE"].astype("category"),
        DAY=pd.to_datetime(visits["DAY"], format="mixed").astype(f"datetime64[{unit}]"),
    )
    same(write(typed, ".parquet"), mapping)


def test_other_ways_to_write_text(visits, mapping, write, tmp_path):
    odd = visits.assign(
        DM=visits["DM"] + ".0",
        SEX=[" F", "F ", "\tF", "M\u3000", "\u00a0M", "F", "F"],
        COST=["100.5", "nan", "1e2", ".5", "+3", "15.", "1"],
        HOSPITAL=["a,b", 'say "x"', "two\nlines", "NaN", "é 医院", "", "\\d"],
    )
    same(write(odd), mapping)
    path = tmp_path / "semicolons.csv"
    visits.to_csv(path, sep=";", encoding="utf-8-sig", lineterminator="\r\n")  # with the index, unnamed
    same(path, mapping)
    lines = [", ".join(f'"{cell or ""}"' for cell in row) for row in visits.to_numpy()]
    path.write_text("\n\n".join([",".join(visits.columns), *lines]) + ",\n")
    same(path, mapping)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".csv.gz"])
def test_parts_are_in_the_order_of_their_names(visits, mapping, tmp_path, ending):
    # Spark reads the largest first, and cuts large ones in pieces.
    folder = tmp_path / "100% of [parts]"
    sizes = [1, 40, 3, 0, 20]
    many = pd.concat([visits] * 64, ignore_index=True).sample(frac=1, random_state=0)
    for i, (size, end) in enumerate(zip(sizes, np.cumsum(sizes), strict=True)):
        path = folder / f"year={i % 2}" / f"part {i}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = many.iloc[(end - size) * 7 : end * 7].astype("string")
        if ending == ".parquet":
            frame.to_parquet(path, index=False, row_group_size=5)
        else:
            frame.to_csv(path, index=False)
    (folder / "_SUCCESS").touch()
    table = same(folder, mapping)
    assert table.frame["row"].is_monotonic_increasing
    last = sorted(folder.rglob(f"*{ending}"))[-1]
    frame = pd.read_csv(last, dtype="string") if ending != ".parquet" else pd.read_parquet(last)
    frame.loc[1, ["SEX", "STATUS"]] = [SECRET, "ok"]
    frame.to_parquet(last) if ending == ".parquet" else frame.to_csv(last, index=False)
    assert f" of {last.name}" in refused(folder, mapping)


EVERYTHING = """
patient = "person"
visit = "visit"
date = { column = "day", format = "%d.%m.%Y %H:%M" }
age = { birth = "born", birth_format = "%Y%m%d" }
sex = { column = "sex", female = ["2"], male = ["1"] }
outcome = { residence = "home.district", place = "hospital.district" }
cost = { column = "cost" }
describe = { zone = "zone.name", hospital = "hospital.name" }
diagnosis = { principal = "dx", others = ["dx2"] }
chronic = { hypertension = "from diagnosis", diabetes = "from diagnosis" }
subdistrict = { column = "home.district", max_levels = 3 }

[institution]
level = [{ name = "tertiary", when = { "hospital.grade" = ["3*"] } }]

[checks]
home = "drop"
age = "drop"
sex = "drop"
date = "drop"
waiting = "drop"

[[join]]
name = "hospital"
file = "hospitals.parquet"
key = "id"
on = "hospital"

[[join]]
name = "home"
file = "homes.csv"
key = "street"
on = "street"

[[join]]
name = "zone"
file = "zones.csv.gz"
key = "district"
on = "home.district"

[[further]]
name = "waiting"
column = "wait"
kind = "numeric"

[[further]]
name = "payer"
column = "payer"
kind = "categorical"
max_levels = 4
"""


def everything(folder: Path) -> tuple[Path, Mapping]:
    """Write visits of several years with side tables, blanks, faults and ties."""
    rng, count = np.random.default_rng(0), 400
    day = [date(2020, 12, 20) + timedelta(days=int(n)) for n in rng.integers(0, 800, count)]
    born = [date(1930, 1, 1) + timedelta(days=int(n)) for n in rng.integers(0, 33_000, count)]
    frame = pd.DataFrame(
        {
            "person": rng.integers(1, 60, count).astype(str),
            "visit": rng.choice(["10", "9", "v9", "V10", "é", "-3", "", "007"], count),
            "day": [f"{d:%d.%m.%Y} {h}:30" for d, h in zip(day, rng.integers(0, 3, count), strict=True)],
            "born": [f"{d:%Y%m%d}" for d in born],
            "sex": rng.choice(["1", "2", "1.0", "9"], count, p=[0.4, 0.3, 0.28, 0.02]),
            "cost": rng.choice(["", "12.75", "3e2", "0", "99999.5"], count),
            "hospital": rng.choice(["1", "2", "03"], count),
            "street": rng.choice(["a", "b", "c", "d", "nowhere"], count, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
            "dx": rng.choice(["I10.x00", "e11", "J 18.9", "M8140/3", "O80", "C97", "D48", "", "I16"], count),
            "dx2": rng.choice(["", "I15", "E14.9"], count),
            "wait": rng.choice(["1", "2.5", "", "soon", "-4"], count, p=[0.3, 0.3, 0.28, 0.02, 0.1]),
            "payer": rng.choice(["own", "state", "Éa", "éa", "x", "y"], count),
        }
    )
    frame.loc[[3, 5], "day"] = ["31.02.2021 1:30", "1.1.1820 1:30"]
    path = folder / "visits.csv"
    frame.to_csv(path, index=False)
    hospitals = pd.DataFrame({"id": ["1", "2", None, "03"], "district": ["A", "B", "B", "C"]})
    hospitals = hospitals.assign(grade=["3a", "2", "1", None], name=["first", "second", "none", "third"])
    hospitals.to_parquet(folder / "hospitals.parquet")
    homes = pd.DataFrame({"street": list("abcd"), "district": ["A", "B", "C", "D"]})
    homes.to_csv(folder / "homes.csv", index=False)
    zones = pd.DataFrame({"district": list("ABC"), "name": ["inner", "outer", None]})
    zones.loc[3] = ["D", "outer"]
    zones.to_csv(folder / "zones.csv.gz", index=False)
    (folder / "mapping.toml").write_text(EVERYTHING, encoding="utf-8")
    return path, read_mapping(folder / "mapping.toml")


def test_side_tables_births_formats_and_dropped_rows(tmp_path):
    path, mapping = everything(tmp_path)
    table = same(path, mapping)
    assert len(table.account.dropped) > 5
    assert table.frame["visits_this_year"].max() > 3
    assert table.frame["zone"].isna().any()
    later = parse_mapping(EVERYTHING.replace("max_levels = 4", 'max_levels = 4\nunseen = "left out"'))
    later = dataclasses.replace(later, join=mapping.join)
    same(path, later, dict(table.levels) | {"payer": ("x", "own")})


def test_the_same_words_about_rows_of_side_tables(tmp_path):
    path, mapping = everything(tmp_path)
    text = refused(path, dataclasses.replace(mapping, checks={}))
    assert "a code that the side table does not list" in text
    assert "not a date written as" in text
    assert "a date before 1850 or after 2100" in text
    homes = tmp_path / "homes.csv"
    homes.write_text(homes.read_text() + "a,Z\n")
    assert "1 codes stand in more than one row" in refused(path, mapping)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_same_words_about_broken_rules(visits, mapping, write, ending):
    many = pd.concat([visits] * 4, ignore_index=True)
    faults = {
        "COST": [SECRET, "inf", "7e39", "-7", "1_0", "1d", "0x1", "Infinity", "5\n"],
        "AGE": ["-77.31", "7731", SECRET, None, "\u0661", "1e400"],
        "DAY": [SECRET, "2024-02-30", None, "2024-1-5", "24-01-05", "1650-01-01", "2024-01-05 25:00"],
        "SEX": [SECRET, " ", None, "f"],
        "PERSON": [None],
        "LIVES": [" ", None],
        "TREATED": [None],
        "WAIT": [SECRET, "--1", "1e5"],
    }
    for column, values in faults.items():
        many.loc[: len(values) - 1, column] = values
    text = refused(write(many, ending), mapping)
    assert "problems" in text
    assert all(f"column '{column}'" in text for column in faults)


def test_the_same_words_about_tables(visits, mapping, write):
    some = visits.rename(columns={"COST": "COSTS"})
    assert "the closest is 'COSTS'" in refused(write(some), mapping)
    assert "a header but no rows" in refused(write(visits.head(0).astype("string")), mapping)
    assert "a header but no rows" in refused(write(visits.head(0).astype("string"), ".parquet"), mapping)
    assert "passes the filters" in refused(write(visits.assign(STATUS="void")), mapping)
    assert "no row remains" in refused(write(visits.assign(COST=None)), mapping)
    lists = visits.assign(COST=[[SECRET]] * len(visits))
    assert "wrong type, array<string>" in refused(write(lists, ".parquet"), mapping)
    day = pd.to_datetime(visits["DAY"]).astype("datetime64[us]").dt.tz_localize("Asia/Shanghai")
    assert "wrong type, timestamp('UTC'" in refused(write(visits.assign(DAY=day), ".parquet"), mapping)
    few = dataclasses.replace(mapping, subdistrict=Subdistrict("STREET", left_out="s3", max_levels=3))
    levels = {"subdistrict": ("s3", "s1"), "payer": ("B", "C", "D")}
    assert "1 code that the first file did not have" in refused(write(visits), few, levels)


def test_files_that_cannot_be_read(visits, mapping, write, tmp_path, capfd):
    good = write(visits.assign(HOSPITAL=SECRET), ".parquet").read_bytes()
    text = write(visits.assign(HOSPITAL=SECRET)).read_bytes()
    quoted = text.replace(b",s1,", f',"s1" {SECRET},'.encode(), 1)
    long = text + text.split(b"\n", 1)[1] * 20_000
    cases = {
        "cut.parquet": good[: len(good) // 2],
        "text.parquet": text,
        "damaged.parquet": good[:4] + bytes(2000) + good[2004:],
        "ragged.csv": text + b"1,2,3\n",
        "wide.csv": text + text.split(b"\n")[1] + b",more\n",
        "quote.csv": quoted,
        "open.csv": text + text.split(b"\n")[1][:-1] + b'"B\n',
        "latin.csv": long + text.split(b"\n")[1].replace(SECRET.encode(), "é".encode("latin-1")),
        "cut.csv.gz": gzip.compress(long)[:-40],
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(path, mapping, settings=ENGINE)
        assert str(caught.value).startswith(f"{name}: ")
        assert SECRET not in str(caught.value)
        with pytest.raises(InputError) as expected:
            read(path, mapping)
        # Only DuckDB knows in which line a byte is no text.
        assert str(caught.value) == str(expected.value).replace(" UTF-8 at line 140009;", " UTF-8;")
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err


HISTORY = (Path(__file__).parent / "history.toml").read_text(encoding="utf-8")
CODES = ["I10", "I15.9", "E11", "E14", "J18", "I16", None]


@examples(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller one would take minutes to find
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_random_histories(data):
    days = st.integers(0, 3) | st.integers(0, 800)  # many on one day
    rows = [
        {
            "P": data.draw(st.sampled_from(["a", "b", "c"])),
            "V": data.draw(st.sampled_from(["1", "2", "10", "x", "X", None])),  # ties go by the file
            "D": (date(2022, 11, 1) + timedelta(days=data.draw(days))).strftime("%d/%m/%Y"),
            "R": "r",
            "T": data.draw(st.sampled_from(["r", "s"])),
            "C": data.draw(st.sampled_from([None, 1.5])) if i else 1.5,
            "X": data.draw(st.sampled_from(CODES)),
            "Y": data.draw(st.sampled_from(CODES)),
            "AGE": 40,
            "SEX": "F",
        }
        for i in range(data.draw(st.integers(1, 25)))
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visits.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        same(path, parse_mapping(HISTORY))


def test_real_admissions(real_data):
    path = real_data / "sih_sp_2023" / "admissions.parquet"
    if not path.is_file():
        pytest.skip("the hospital admissions are not among the real data")
    assert len(same(path, read_mapping(EXAMPLE)).frame) == 403_265


def test_the_session_is_left_as_it_was(session, visits, mapping, write):
    path = write(visits)
    read(path, mapping, settings=ENGINE)
    faulty = dataclasses.replace(mapping, cost=dataclasses.replace(mapping.cost, column="SEX"))
    with pytest.raises(InputError, match="not a number"):
        read(path, faulty, settings=ENGINE)
    assert session.conf.get("spark.sql.session.timeZone") == "America/Sao_Paulo"
    assert session.conf.get("spark.sql.legacy.parquet.nanosAsLong") == "false"
    assert session.catalog.listTables() == []
    assert len(session.sparkContext._jsc.getPersistentRDDs()) == 0


def test_a_folder_that_is_there_is_not_written_over(visits, mapping, write, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    with pytest.raises(InputError, match="such a file or folder already"):
        write_features(write(visits), mapping, out, settings=ENGINE)


def test_what_spark_logs_of_an_error_is_not_shown(session, capfd):
    with connect(ENGINE) as engine, readable("visits.csv", engine, True), pytest.raises(engine.errors):
        session.sql(f"SELECT CAST('{SECRET}' AS INT)").collect()
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err
