"""The comparison of planted types with a published table, on tables small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from jvade.analysis import fidelity

TYPES = np.repeat(np.arange(1, 8), 4)
PERCENT, AWAY = "percent", "percent of cross-district visits"


def table(**rows):
    """Published rows: name=(group, unit, value of every type, overall)."""
    lines = {
        "crossed_before": ("visit", PERCENT, 25.0, 25.0),
        "cross_district": ("outcome", PERCENT, 50.0, 50.0),
    }
    return pd.DataFrame(
        [
            {"group": group, "variable": name, "unit": unit}
            | {f"cluster{i}": value for i in range(1, 8)}
            | {"overall": overall}
            for name, (group, unit, value, overall) in (lines | rows).items()
        ]
    )


def visits(**columns):
    """Four visits of each type: the first two cross, of the second an earlier one crossed."""
    plain = {
        "cross_district": np.tile([1, 1, 0, 0], 7),
        "crossed_before": np.tile([0, 1, 0, 0], 7),
        "cost": np.tile([10.0, 20.0, 30.0, np.nan], 7),
    }
    return pd.DataFrame(plain | columns)


def cell(found, variable, column):
    cells = found.cells.set_index(["variable", "column"])
    return cells.loc[(variable, column)]


def test_means_percentages_and_what_is_missing():
    published = table(cost=("visit", "yuan", 20.0, 25.0))
    found = fidelity.compare(visits(), TYPES, published)
    assert cell(found, "cost", "3")["simulated"] == 20.0
    assert cell(found, "cross_district", "3")["simulated"] == 50.0
    overall = cell(found, "cost", "overall")
    assert overall["difference"] == -5.0
    assert overall["allowed"] == 1.25
    assert not overall["within"]
    assert not found.within
    assert found.notes["percent of visits without a cost"] == 25.0
    assert found.worst().set_index("column").loc["overall", "variable"] == "cost"


def test_shares_of_visits():
    types = np.append(TYPES, [7, 7])
    more = visits().reindex(np.append(np.arange(28), [0, 1]), fill_value=0)
    found = fidelity.compare(more, types, table(share_of_visits=("share", PERCENT, 13.0, 100.0)))
    assert cell(found, "share_of_visits", "7")["simulated"] == pytest.approx(20.0)
    assert cell(found, "share_of_visits", "1")["simulated"] == pytest.approx(100 * 4 / 30)
    assert cell(found, "share_of_visits", "overall")["simulated"] == 100.0


def test_zones_are_of_all_visits_and_destinations_of_those_that_cross():
    published = table(inner=("residence", PERCENT, 25.0, 25.0), city_centre=("destination", AWAY, 50.0, 50.0))
    frame = visits(
        zone=np.tile(["inner", "outer", "outer", "outer"], 7),
        destination=pd.Categorical(np.tile(["city_centre", "suburb", "city_centre", None], 7)),
    )
    found = fidelity.compare(frame, TYPES, published)
    assert cell(found, "inner", "5")["simulated"] == 25.0
    assert cell(found, "city_centre", "5")["simulated"] == 50.0
    assert cell(found, "city_centre", "overall")["simulated"] == 50.0
    assert found.within


def test_what_is_allowed():
    cells = pd.DataFrame(
        [
            ("percent", "overall", 60.0, 1.0),
            ("percent", "overall", 0.2, 1.0),
            ("years", "overall", 60.0, 3.0),
            ("percent", "1", 60.0, 3.0),
            ("percent", "1", 5.0, 3.0),
            ("percent", "1", 4.0, 1.0),
            ("percent", "1", 0.1, 0.05),  # prints as published
            ("percent", "1", 0.0, 0.05),
            ("percent of cross-district visits", "1", 82.4, 3.0),
            ("yuan", "1", 2342.6, 234.26),
        ],
        columns=["unit", "column", "published", "allowed"],
    )
    np.testing.assert_allclose(fidelity.allowed(cells), cells["allowed"])


def test_both_readings_of_crossed_before():
    found = fidelity.compare(visits(), TYPES, table())
    assert found.readings.loc["strict", "overall"] == 25.0
    assert found.readings.loc["inclusive", "overall"] == 50.0
    assert found.readings["within"].to_dict() == {"published": True, "strict": True, "inclusive": False}
    assert "within in every column: strict" in "\n".join(found.lines())
    other = fidelity.compare(visits(), TYPES, table(crossed_before=("visit", PERCENT, 50.0, 50.0)))
    assert other.readings["within"].to_dict() == {"published": True, "strict": False, "inclusive": True}


def test_the_printed_forms():
    frame = visits(perinatal=0, days_since_last_visit=np.tile([np.nan, 2.0, 4.0, 6.0], 7))
    patients = np.repeat(np.arange(14), 2)
    found = fidelity.compare(frame, TYPES, table(cost=("visit", "yuan", 22.0, 25.0)), patients)
    wide = found.wide().set_index("variable")
    assert wide.loc["cost", "2"] == "20.0 (22.0)"
    assert wide.loc["cost", "overall"] == "20.0 (25.0) !"
    assert wide.loc["days_since_last_visit", "overall"] == "4.0 (-)"
    assert wide.loc["perinatal", "group"] == "ours"
    assert list(wide.columns) == ["group", "unit", *fidelity.COLUMNS]
    text = "\n".join(found.lines())
    assert "23 of 24 published numbers" in text
    assert "largest deviation, overall: cost 20.00 against 25.0 yuan, 400% of what is allowed" in text
    assert "our choice: days_since_last_visit, perinatal" in text
    assert found.notes["visits per patient, mean"] == 2.0
    assert found.notes["percent of visits that are a patient's first"] == 50.0


def test_other_types():
    with pytest.raises(
        ValueError, match=r"types: expected visits of each of 1 to 7, got \[1, 2, 3, 4, 5, 6\]"
    ):
        fidelity.compare(visits()[:24], TYPES[:24], table())
