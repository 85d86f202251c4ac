"""Choosing from a grid, by hand."""

import numpy as np
import pandas as pd
import pytest

from jvade.analysis import grid

#: Two latents with three clusters are first by two indices and second by the third.
GRID = pd.DataFrame(
    {
        "latent_dim": [2, 2, 5, 5],
        "n_clusters": [3, 4, 3, 4],
        "silhouette": [0.4, 0.5, 0.2, 0.1],
        "davies_bouldin": [0.8, 0.9, 1.5, 2.0],
        "calinski_harabasz": [900.0, 800.0, 300.0, 200.0],
        "bic": [10.0, 9.0, 30.0, 20.0],
    }
)


def test_the_best_mean_rank_is_chosen_whatever_the_order_of_the_rows():
    for table in (GRID, GRID.iloc[::-1]):
        best = grid.choose(table)
        assert (best["latent_dim"], best["n_clusters"], best["mean_rank"]) == (2, 3, pytest.approx(4 / 3))


def test_equal_ranks_go_to_fewer_latents_then_fewer_clusters_and_blanks_are_out():
    same = GRID.assign(silhouette=0.3, davies_bouldin=1.0, calinski_harabasz=5.0).iloc[::-1]
    assert grid.choose(same)[["latent_dim", "n_clusters"]].tolist() == [2, 3]
    blank = GRID.assign(silhouette=[np.nan, np.nan, 0.2, 0.1])
    assert grid.choose(blank)["latent_dim"] == 5
    with pytest.raises(ValueError, match="no mixture"):
        grid.choose(GRID.assign(silhouette=np.nan))


def test_each_number_of_latents_gets_its_best_k():
    by_bic = grid.best_by(GRID, "bic", higher=False)
    assert by_bic[["latent_dim", "n_clusters"]].to_numpy().tolist() == [[2, 4], [5, 4]]
    by_silhouette = grid.best_by(GRID, "silhouette", higher=True)
    assert by_silhouette["n_clusters"].tolist() == [4, 3]
    tied = grid.best_by(GRID.assign(bic=1.0).iloc[::-1], "bic", higher=False)
    assert tied["n_clusters"].tolist() == [3, 3]


def test_the_elbow_is_the_bend():
    x = np.arange(2, 9)
    y = np.array([100.0, 60, 20, 18, 16, 14, 12])
    assert grid.elbow(x, y) == 4
    assert grid.elbow(x, y * 1000 + 5) == 4
    assert np.isnan(grid.elbow(x, -((x - 2.0) ** 2)))  # bends the other way
    assert grid.elbow(x, np.where(x == 3, np.nan, y)) == 4
    assert np.isnan(grid.elbow(x[:2], y[:2]))
