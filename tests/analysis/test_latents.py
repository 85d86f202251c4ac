"""Meaning of the latents against pandas, scikit-learn, brute force and cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from jvade.analysis import latents
from jvade.analysis.latents import MAP_PERCENTILES

PUBLISHED = pd.DataFrame(
    {"latent": ["z1", "z2"], "age": [-0.8, 0.4], "visits": [np.nan, 0.8], "community": [-0.5, np.nan]}
)


def planted(**columns):
    """Correlations as `correlations` returns them, of the variables of `PUBLISHED`."""
    table = pd.DataFrame({"variable": ["age", "visits", "community"], **columns})
    shown = table[list(columns)].where(table[list(columns)].abs() >= 0.3).add_suffix("_shown")
    return pd.concat([table, shown], axis=1)


# --- correlations ---


def test_correlations_equal_pandas_over_what_is_known():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 3)).astype(np.float32)
    inputs = pd.DataFrame(
        {
            "a": (z[:, 0] + rng.normal(size=500)).astype(np.float32),
            "flag": (z[:, 1] + rng.normal(size=500) > 0).astype(np.uint8),
            "c": rng.normal(1e4, 1, 500).astype(np.float32),
        }
    )
    inputs.loc[rng.random(500) < 0.4, "a"] = np.nan
    got = latents.correlations(z, inputs, threshold=0.3)
    assert list(got) == ["variable", "z1", "z2", "z3", "z1_shown", "z2_shown", "z3_shown"]
    assert got["variable"].tolist() == ["a", "flag", "c"]
    both = inputs.astype(float).assign(z1=z[:, 0].astype(float), z2=z[:, 1].astype(float), z3=z[:, 2])
    names = ["z1", "z2", "z3"]
    want = both.corr().loc[["a", "flag", "c"], names].to_numpy()
    np.testing.assert_allclose(got[names], want, atol=1e-7)
    shown = np.abs(want) >= 0.3
    assert 0 < shown.sum() < shown.size
    np.testing.assert_allclose(got[[f"{n}_shown" for n in names]], np.where(shown, want, np.nan), atol=1e-7)


def test_constants_correlate_with_nothing():
    """A constant such as 0.3 has a mean that rounds, and so a variance just above 0."""
    rng = np.random.default_rng(0)
    z = np.stack([rng.normal(size=999), np.full(999, 0.3)], axis=1)
    inputs = pd.DataFrame(
        {"a": rng.normal(size=999), "same": np.full(999, 0.3), "none": np.full(999, np.nan)}
    )
    got = latents.correlations(z, inputs, threshold=0.0).set_index("variable")
    assert got.loc[["same", "none"]].isna().all(axis=None)
    assert got[["z2", "z2_shown"]].isna().all(axis=None)
    assert got.loc["a", ["z1", "z1_shown"]].notna().all()


def test_a_correlation_on_the_threshold_is_shown():
    z = np.array([[-1.0], [0.0], [1.0], [0.0]])
    got = latents.correlations(z, pd.DataFrame({"a": [-2.0, 0.0, 2.0, 0.0]}), threshold=1.0)
    assert got["z1_shown"][0] == 1.0


# --- match ---


def test_match_finds_the_order_and_the_signs():
    ours = planted(z1=[0.1, -0.1, 0.0], z2=[-0.4, -0.8, 0.3], z3=[-0.8, 0.2, -0.5])
    got = latents.match(ours, PUBLISHED)
    assert got.order == (3, 2)
    assert got.signs == (1, -1)
    assert got.agreement == pytest.approx(1.0)


def test_match_maximises_over_every_permutation():
    rng = np.random.default_rng(0)
    theirs = PUBLISHED.set_index("latent").to_numpy()
    for _ in range(20):
        r = rng.uniform(-1, 1, (3, 3))
        got = latents.match(planted(z1=r[:, 0], z2=r[:, 1], z3=r[:, 2]), PUBLISHED)
        best = max(
            abs(np.nansum(theirs[0] * r[:, i])) + abs(np.nansum(theirs[1] * r[:, j]))
            for i in range(3)
            for j in range(3)
            if i != j
        )
        assert got.agreement == pytest.approx(best / np.nansum(theirs**2))


def test_one_latent_takes_the_published_one_it_meets_best():
    got = latents.match(planted(z1=[-0.4, -0.8, 0.0]), PUBLISHED)
    assert got.order == (0, 1)
    assert got.signs == (0, -1)
    # Of 0.64 + 0.25 + 0.16 + 0.64, the second latent is 0.80.
    assert got.agreement == pytest.approx(0.80 / 1.69)


def test_a_variable_that_we_lack_or_that_is_constant_is_no_constraint():
    ours = planted(z1=[0.8, np.nan, 0.5], z2=[0.4, 0.8, 0.0])
    got = latents.match(ours.iloc[:2], PUBLISHED)
    assert got.order == (1, 2)
    assert got.signs == (-1, 1)
    assert np.isnan(latents.match(ours.iloc[:0], PUBLISHED).agreement)


def test_beside_is_matched_signed_and_complete():
    ours = planted(z1=[-0.4, -0.7, 0.2], z2=[0.9, 0.1, 0.6])
    got = latents.beside(ours, latents.match(ours, PUBLISHED), PUBLISHED)
    assert list(got) == ["latent", "variable", "ours", "shown", "published"]
    assert got["latent"].tolist() == ["z1"] * 3 + ["z2"] * 3
    assert got["variable"].tolist() == ["age", "visits", "community"] * 2
    assert got["ours"].tolist() == pytest.approx([-0.9, -0.1, -0.6, 0.4, 0.7, -0.2])
    assert got["shown"].tolist() == [True, False, True, True, True, False]
    np.testing.assert_array_equal(got["published"], PUBLISHED.iloc[:, 1:].to_numpy().ravel())


def test_beside_leaves_blank_what_we_lack():
    ours = planted(z1=[-0.4, -0.7, 0.2]).iloc[:2]
    got = latents.beside(ours, latents.match(ours, PUBLISHED), PUBLISHED)
    assert got["ours"].isna().tolist() == [True, True, True, False, False, True]
    assert got["shown"].tolist() == [False, False, False, True, True, False]


# --- traversal ---


def test_one_latent_moves_and_the_others_stay_at_their_mean():
    z = np.array([[1.0, 10.0, -5.0], [3.0, 20.0, -7.0]], np.float32)
    points, values = latents.traversal_points(z, 5)
    assert values.tolist() == [-3.0, -1.5, 0.0, 1.5, 3.0]
    assert points.shape == (3, 5, 3)
    assert points.dtype == z.dtype
    for moving in range(3):
        for latent, mean in enumerate([2.0, 15.0, -6.0]):
            want = values if latent == moving else np.full(5, mean)
            np.testing.assert_array_equal(points[moving, :, latent], want)


def test_traversal_table_by_hand():
    decoded = np.arange(12.0).reshape(2, 3, 2)
    got = latents.traversal(np.array([-1.0, 0.0, 1.0]), decoded, 10 * decoded, ["a", "b"])
    assert list(got) == ["latent", "value", "variable", "standardised", "original"]
    cell = got[(got["latent"] == "z2") & (got["value"] == 0.0) & (got["variable"] == "b")]
    assert cell[["standardised", "original"]].to_numpy().tolist() == [[9.0, 90.0]]
    assert len(got) == 12


# --- the plane ---


def test_two_latents_are_the_plane_themselves():
    z = np.random.default_rng(0).normal(size=(10, 2))
    points, axes, offset = latents.plane(z)
    np.testing.assert_array_equal(points, z)
    np.testing.assert_array_equal((z - offset) @ axes, z)


def test_more_latents_lie_on_their_principal_axes(monkeypatch):
    monkeypatch.setattr(latents, "BLOCK_ROWS", 64)
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 5).astype(np.float32)
    points, axes, offset = latents.plane(z)
    pca = PCA(2).fit(z.astype(float))
    signs = np.sign((axes * pca.components_.T).sum(axis=0))
    np.testing.assert_allclose(axes, pca.components_.T * signs, atol=1e-8)
    np.testing.assert_allclose(points, pca.transform(z.astype(float)) * signs, atol=1e-6)
    np.testing.assert_allclose(points, (z - offset) @ axes, atol=1e-12)
    assert (axes[np.abs(axes).argmax(axis=0), [0, 1]] > 0).all()


def test_one_latent_has_no_plane():
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        latents.plane(np.zeros((3, 1)))


def test_ellipses_of_two_latents_by_hand():
    got = latents.ellipses(
        np.array([0.7, 0.3]),
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[4.0, 9.0], [16.0, 1.0]]),
        np.eye(2),
        np.zeros(2),
    )
    assert got["cluster"].tolist() == [0, 1]
    assert got["weight"].tolist() == [0.7, 0.3]
    assert got[["x", "y"]].to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert got["width"].tolist() == pytest.approx([3.0, 4.0])
    assert got["height"].tolist() == pytest.approx([2.0, 1.0])
    assert got["angle"].tolist() == pytest.approx([90.0, 0.0])


def test_ellipses_span_the_projected_covariance():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(4, 2)))[0]
    means, variances, offset = rng.normal(size=(3, 4)), rng.uniform(0.1, 2, (3, 4)), rng.normal(size=4)
    got = latents.ellipses(np.ones(3) / 3, means, variances, axes, offset)
    for k, row in enumerate(got.itertuples()):
        covariance = axes.T @ np.diag(variances[k]) @ axes
        np.testing.assert_allclose([row.height**2, row.width**2], np.linalg.eigh(covariance)[0])
        turn = np.radians(row.angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        rebuilt = rotation @ np.diag([row.width**2, row.height**2]) @ rotation.T
        np.testing.assert_allclose(rebuilt, covariance, atol=1e-12)
        np.testing.assert_allclose([row.x, row.y], (means[k] - offset) @ axes)


# --- hexagons ---


def visits(n=4000):
    rng = np.random.default_rng(0)
    points = rng.normal([3.0, -2.0], [2.0, 0.7], (n, 2))
    part = np.where(rng.random(n) < 0.6, np.nan, rng.random(n))
    measures = {"age": rng.normal(50, 9, n), "crossed": rng.random(n) < 0.2, "part": part}
    return points, measures, rng.integers(1, 5, n), rng.integers(0, 400, n)


def on_map(points):
    low, high = np.percentile(points, MAP_PERCENTILES, axis=0)
    return ((points >= low) & (points <= high)).all(axis=1)


def nearest(points, table):
    """Row of the hexagon whose center is nearest to each point, by brute force."""
    apart = points[:, None] - table[["x", "y"]].to_numpy()[None]
    return np.linalg.norm(apart, axis=2).argmin(axis=1), np.linalg.norm(apart, axis=2).min(axis=1)


def test_every_visit_is_in_the_hexagon_whose_center_is_nearest():
    points, measures, labels, patients = visits()
    table, share = latents.hexagons(points, measures, labels, patients, 1, across=12)
    inside = on_map(points)
    cell, distance = nearest(points[inside], table)
    assert (distance <= table["radius"][0] + 1e-12).all()
    assert np.bincount(cell, minlength=len(table)).tolist() == table["visits"].tolist()
    assert share == pytest.approx(100 * inside.mean())
    assert 97 < share < 100


def test_hexagons_are_regular_and_as_many_as_asked_for():
    points, measures, labels, patients = visits()
    table, _ = latents.hexagons(points, measures, labels, patients, 1, across=12)
    centers = table[["x", "y"]].to_numpy()
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    width = np.sqrt(3) * table["radius"][0]
    # Six neighbours, all one width away, and nothing between them and the next ring.
    assert apart[apart > 0].min() == pytest.approx(width)
    assert (np.isclose(apart, width)).sum(axis=1).max() == 6
    assert not ((apart > 1.01 * width) & (apart < 1.7 * width)).any()
    spans = np.ptp(np.percentile(points, MAP_PERCENTILES, axis=0), axis=0)
    assert spans.max() / width == pytest.approx(12)


def test_hexagons_equal_pandas():
    points, measures, labels, patients = visits()
    table, share = latents.hexagons(points, measures, labels, patients, 8, across=12)
    everything, _ = latents.hexagons(points, measures, labels, patients, 1, across=12)
    inside = on_map(points)
    frame = pd.DataFrame({**measures, "label": labels, "patient": patients})[inside].astype(float)
    groups = frame.groupby(nearest(points[inside], everything)[0])
    n_patients = groups["patient"].nunique()
    kept = n_patients.index[n_patients >= 8]
    assert 0 < len(kept) < len(everything)
    assert table["patients"].tolist() == n_patients[kept].tolist()
    assert table["visits"].tolist() == groups.size()[kept].tolist()
    assert share == pytest.approx(100 * groups.size()[kept].sum() / len(points))
    np.testing.assert_allclose(table[["age", "crossed"]], groups[["age", "crossed"]].mean().loc[kept])
    behind = frame.dropna(subset="part").groupby(groups.ngroup())["patient"].nunique()
    few = behind.reindex(groups.size().index, fill_value=0)[kept] < 8
    assert 0 < few.sum() < len(few)
    np.testing.assert_allclose(table["part"], groups["part"].mean().loc[kept].mask(few))
    counts = groups["label"].value_counts().unstack(fill_value=0).loc[kept]
    assert table["cluster"].tolist() == counts.idxmax(axis=1).tolist()
    np.testing.assert_allclose(table["cluster_share"], 100 * counts.max(axis=1) / counts.sum(axis=1))


def test_one_patient_with_many_visits_makes_no_hexagon():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (1000, 2)), rng.normal(6, 0.01, (1000, 2))])
    patients = np.concatenate([np.arange(1000), np.full(1000, 7777)])
    age, labels = np.ones(2000), np.ones(2000, int)
    table, share = latents.hexagons(points, {"age": age}, labels, patients, 3, across=10)
    assert (table["patients"] >= 3).all()
    assert table["x"].max() < 5
    assert share < 50
    # Where patients are unknown the same visits are 1000 of somebody's, and the place is drawn.
    table, _ = latents.hexagons(points, {"age": age}, labels, None, 3, across=10)
    assert table["x"].max() > 5
    assert table["patients"].isna().all()
    assert (table["visits"] >= 3).all()


def test_visits_in_one_place_are_one_hexagon():
    table, share = latents.hexagons(np.zeros((9, 2)), {}, np.arange(9) % 2, None, 8)
    assert len(table) == 1
    assert share == 100.0
    assert table["cluster_share"][0] == pytest.approx(500 / 9)


def test_too_few_patients_leave_an_empty_table():
    points, measures, labels, patients = visits(50)
    table, share = latents.hexagons(points, measures, labels, patients, 40)
    assert len(table) == 0
    assert {"x", "y", "cluster", "age", "part"} <= set(table)
    assert share == 0.0
