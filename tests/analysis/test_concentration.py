"""Concentration of crossing: cases counted by hand, and Table 7."""

import numpy as np
import pandas as pd
import pytest

from jvade.analysis import concentration, profiles
from jvade.data import published


def table(clusters, overall):
    """Rates from cluster=(share, cross rate)."""
    index = pd.Index([*clusters, "overall"], dtype=object, name="cluster")
    return pd.DataFrame([*clusters.values(), overall], index, columns=["share", "cross_rate"], dtype=float)


#: Of 100 visits 10 cross: 5 of 20, 4 of 30, 1 of 50.
RATES = table({1: (50, 2), 2: (20, 25), 3: (30, 40 / 3)}, (100, 10))
BLANK = (np.nan, np.nan)


def points(curve):
    return curve[["visits", "crossing"]].to_numpy()


def test_curve_and_coefficient_by_hand():
    curve = concentration.lorenz(RATES)
    assert curve["cluster"].tolist() == ["", "2", "3", "1"]
    np.testing.assert_allclose(points(curve), [[0, 0], [20, 50], [50, 90], [100, 100]])
    # Area under the curve: 0.2 * 0.25 + 0.3 * 0.7 + 0.5 * 0.95 = 0.735.
    assert concentration.gini(curve) == pytest.approx(0.47)
    assert concentration.above_overall(RATES) == pytest.approx((50.0, 90.0))


def test_coefficient_equals_mean_difference_of_rates():
    """Gini is half the mean absolute difference of the rates of two visits, over the overall rate."""
    rng = np.random.default_rng(0)
    labels, crossed = rng.integers(1, 8, 300), rng.random(300) < rng.random(300)
    rates = profiles.cross_rates(labels, crossed, min_patients=1)
    each = rates["cross_rate"].loc[labels.tolist()].to_numpy(float)
    want = np.abs(each[:, None] - each[None, :]).mean() / (2 * each.mean())
    assert concentration.gini(concentration.lorenz(rates)) == pytest.approx(want)


def test_even_crossing_has_no_concentration():
    rates = table({1: (30, 7), 2: (70, 7)}, (100, 7))
    assert concentration.gini(concentration.lorenz(rates)) == pytest.approx(0, abs=1e-12)
    assert concentration.above_overall(rates) == (0.0, 0.0)


def test_names_of_clusters_change_nothing():
    renamed = table({9: (30, 40 / 3), 4: (50, 2), 5: (20, 25)}, (100, 10))
    one, two = concentration.lorenz(RATES), concentration.lorenz(renamed)
    np.testing.assert_array_equal(points(one), points(two))
    assert concentration.above_overall(RATES) == concentration.above_overall(renamed)


def test_a_single_cluster_is_the_diagonal():
    curve = concentration.lorenz(table({1: (100, 8)}, (100, 8)))
    np.testing.assert_allclose(points(curve), [[0, 0], [100, 100]])
    assert concentration.gini(curve) == pytest.approx(0)


def test_blank_clusters_are_pooled_from_what_the_overall_row_leaves():
    """Clusters 2 and 3: together 50 visits, of which 9 cross."""
    rates = table({1: (50, 2), 2: BLANK, 3: BLANK}, (100, 10))
    curve = concentration.lorenz(rates)
    assert curve["cluster"].tolist() == ["", "others", "1"]
    np.testing.assert_allclose(points(curve), [[0, 0], [50, 90], [100, 100]])
    assert concentration.above_overall(rates) == pytest.approx((50.0, 90.0))


def test_blank_clusters_of_a_real_table_add_up():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 3, 4], [5, 6, 200, 300])  # few alone, enough together
    crossed = rng.random(511) < 0.3
    crossed[:11] = True
    rates = profiles.cross_rates(labels, crossed)
    assert rates["share"].isna().sum() == 2
    merged = profiles.cross_rates(np.where(labels == 2, 1, labels), crossed, min_patients=1)
    one, two = concentration.lorenz(rates), concentration.lorenz(merged)
    assert one["cluster"].tolist()[:2] == ["", "others"]
    np.testing.assert_allclose(points(one), points(two))
    assert concentration.above_overall(rates) == pytest.approx(concentration.above_overall(merged))


def test_blank_clusters_are_dropped_where_nothing_can_be_left_for_them():
    # By rounding the others have 10.2 of 10 crossing visits.
    rates = table({1: (50, 10.4), 2: (49, 10.2), 3: BLANK}, (100, 10))
    curve = concentration.lorenz(rates)
    assert curve["cluster"].tolist() == ["", "1", "2"]
    np.testing.assert_allclose(points(curve)[1], [100 * 50 / 99, 520 / (5.2 + 4.998)])


def test_blank_clusters_are_dropped_where_the_overall_row_is_blank():
    rates = table({1: (50, 2), 2: (20, 25), 3: BLANK}, BLANK)
    curve = concentration.lorenz(rates)
    assert curve["cluster"].tolist() == ["", "2", "1"]
    np.testing.assert_allclose(points(curve)[1], [100 * 20 / 70, 100 * 5 / 6])
    assert np.isnan(concentration.above_overall(rates)).all()


def test_a_table_that_is_blank_throughout_has_no_coefficient():
    rates = table({1: BLANK, 2: BLANK}, BLANK)
    assert len(concentration.lorenz(rates)) == 1
    assert np.isnan(concentration.gini(concentration.lorenz(rates)))


def test_nobody_crossing_has_no_coefficient():
    rates = table({1: (60, 0), 2: (40, 0)}, (100, 0))
    assert np.isnan(concentration.gini(concentration.lorenz(rates)))
    visits, crossing = concentration.above_overall(rates)
    assert visits == 0
    assert np.isnan(crossing)


def test_the_published_clusters():
    """Table 7: clusters 1 to 4 lie above the overall rate; a fifth of the visits, half of the crossing."""
    shares, rates = (
        published.load("table7_profiles").set_index("variable").filter(regex="cluster").loc[name].to_numpy()
        for name in ("share_of_visits", "cross_district")
    )
    clusters = dict(enumerate(zip(shares, rates, strict=True), start=1))
    visits, crossing = concentration.above_overall(table(clusters, (100, 8.9)))
    assert visits == pytest.approx(20.1, abs=0.1)
    assert crossing == pytest.approx(100 * (shares * rates)[:4].sum() / (shares * rates).sum())
