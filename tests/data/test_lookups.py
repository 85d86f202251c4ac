"""What is worked out once for each value, or on a short way, says what the long way says."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jvade.data import draft, lookups
from jvade.data.engines import connect
from jvade.data.features import read_visits
from jvade.data.tidy import completed_years


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_spaces_around_codes_say_nothing(visits, mapping, write, ending):
    clean = read_visits(write(visits, ending), mapping)
    spaces = [" {}", "{} ", "\t{}", "{}\u3000", "\u00a0{}", " \t{}\u3000 ", "{}"]
    for column in ("PERSON", "SEX", "LIVES", "HOSPITAL", "DX1", "STREET", "STATUS", "PAYER"):
        pairs = zip(visits[column], spaces, strict=True)
        visits[column] = [text if text is None else space.format(text) for text, space in pairs]
    found = read_visits(write(visits, ending), mapping)
    pd.testing.assert_frame_equal(found.frame, clean.frame)
    assert (found.account, found.levels) == (clean.account, clean.levels)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_spaces_inside_a_code_belong_to_it(visits, mapping, write, ending):
    inner = "\u57ce\u533a\u3000\u4e1c"
    visits["STREET"] = visits["STREET"].replace("s2", f" {inner}\t")
    part = dataclasses.replace(mapping.subdistrict, left_out=inner)
    found = read_visits(write(visits, ending), dataclasses.replace(mapping, subdistrict=part))
    assert found.levels["subdistrict"] == (inner, "s1", "s3")


def test_a_column_may_have_the_name_of_an_argument(visits, mapping, write):
    """Ibis calls its table `self`."""
    mapping = dataclasses.replace(mapping, describe={"self": "self"})
    found = read_visits(write(visits.rename(columns={"HOSPITAL": "self"})), mapping)
    assert found.frame["self"].tolist() == ["h1", "h3", "h2", "h3", "h3"]
    assert "self" in draft.draft(write(visits.rename(columns={"HOSPITAL": "self"})))


@pytest.mark.parametrize("more", [0, 1])
def test_a_column_of_many_codes_describes_visits_as_well(visits, mapping, write, more):
    """From one code on beyond `MANY` it stays text; what comes out is the same."""
    many = pd.concat([visits.iloc[[0]]] * (lookups.MANY + more + 2), ignore_index=True)
    many["VISIT"] = np.arange(len(many)).astype(str)
    many["HOSPITAL"] = ["", "", *(f"h{i}" for i in range(lookups.MANY + more))]
    many = many.sample(frac=1, random_state=1)
    found = read_visits(write(many), mapping).frame["hospital"]
    assert found.astype(object).where(found.notna(), "").tolist() == many["HOSPITAL"].tolist()


def test_completed_years_are_those_of_the_calendar(tmp_path):
    """Within days of a birthday, in every age to 130, over centuries with and without a leap day."""
    pairs = []
    for born in (
        date(1850, 3, 1),
        date(1896, 2, 29),
        date(1899, 2, 28),
        date(1970, 12, 31),
        date(2000, 2, 29),
    ):
        for age in range(131):
            if born.year + age <= 2100:
                near = date(born.year + age, born.month, min(born.day, 28))
                pairs += [(born, near + timedelta(days)) for days in range(-6, 7)]
    rng = np.random.default_rng(0)
    for days, later in rng.integers(0, 45_000, (3000, 2)).tolist():
        pairs.append((date(1880, 1, 1) + timedelta(days), date(1880, 1, 1) + timedelta(days + later)))
    frame = pd.DataFrame(pairs, columns=["birth", "today"])
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "dates.parquet")
    with connect() as engine:
        table = engine.parquet([tmp_path / "dates.parquet"], [0])
        years = completed_years(table["birth"], table["today"])
        got = table.select("birth", "today", years=years).to_pyarrow().to_pylist()
    assert len(got) == len(pairs)
    for row in got:
        birth, today = row["birth"], row["today"]
        assert row["years"] == today.year - birth.year - ((today.month, today.day) < (birth.month, birth.day))


def test_rows_keep_the_order_of_the_file(visits, mapping, tmp_path):
    """Over several groups of rows, which an engine on several threads may write in another order."""
    mapping = dataclasses.replace(mapping, patient="", visit="")
    visits.iloc[np.zeros(400_000, dtype=int)].to_parquet(tmp_path / "visits.parquet", index=False)
    for _ in range(4):
        frame = read_visits(tmp_path / "visits.parquet", mapping).frame
        assert (frame["row"].to_numpy() == np.arange(1, 400_001)).all()


def test_rows_out_of_order_are_written_again_and_refused_if_they_stay_so(tmp_path, monkeypatch):
    pq.write_table(pa.table({"row": [1, 2, 3]}), tmp_path / "rising.parquet")
    pq.write_table(pa.table({"row": [2, 1, 3]}), tmp_path / "mixed.parquet")
    threads = []
    with connect() as engine:
        backend = type(engine.connection)
        to_parquet = backend.to_parquet

        def first_mixed(self, table, out):
            threads.append(self.raw_sql("SELECT current_setting('threads')").fetchone()[0])
            to_parquet(self, mixed if len(threads) == 1 else table, out)

        rising, mixed = (
            engine.parquet([tmp_path / name], [0])[["row"]] for name in ("rising.parquet", "mixed.parquet")
        )
        with pytest.raises(AssertionError, match="order"):
            engine.write(mixed, tmp_path / "out.parquet")
        monkeypatch.setattr(backend, "to_parquet", first_mixed)
        engine.write(rising, tmp_path / "out.parquet")
        after = engine.connection.raw_sql("SELECT current_setting('threads')").fetchone()[0]
    assert pq.read_table(tmp_path / "out.parquet")["row"].to_pylist() == [1, 2, 3]
    assert len(threads) == 2
    assert threads[1] == 1
    assert after == threads[0]
