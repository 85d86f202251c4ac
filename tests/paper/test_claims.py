"""Each finding of the study is held against our numbers, and can fail."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from jvade.paper import claims
from jvade.paper.stage import Outcome


def study(**outcomes):
    """What `claims` asks of a run: outcomes by stage, and where the visits are from."""
    found = {name.replace("_", "-"): outcome for name, outcome in outcomes.items()}
    return SimpleNamespace(outcome=found.__getitem__, settings=SimpleNamespace(visits=None)), list(found)


def hold(**outcomes):
    return claims.hold(*study(**outcomes))


def table3(silhouette, davies_bouldin=(1.0, 2.0, 3.0)):
    return Outcome(
        {
            "table3_sensitivity": pd.DataFrame(
                {
                    "latent_dim": [2, 5, 10],
                    "chosen_by": "bic",
                    "silhouette": silhouette,
                    "davies_bouldin": davies_bouldin,
                    "calinski_harabasz": [900.0, 300.0, 100.0],
                }
            )
        }
    )


@pytest.mark.parametrize(
    ("outcome", "agrees"),
    [
        (table3([0.3, 0.1, 0.05]), True),
        (table3([0.1, 0.3, 0.05]), False),
        (table3([0.3, 0.1, 0.05], davies_bouldin=[2.0, 1.0, 3.0]), False),
        (table3([0.3, np.nan, 0.05]), True),
        (table3([np.nan, np.nan, np.nan]), None),
    ],
)
def test_two_latents_must_be_best_by_all_three_indices(outcome, agrees):
    (claim,) = hold(sensitivity=outcome)
    assert claim.agrees is agrees
    assert "K by BIC" in claim.published


@pytest.mark.parametrize(("lowest", "agrees"), [(7, True), (10, False)])
def test_bic_must_be_lowest_at_seven(lowest, agrees):
    curve = pd.DataFrame({"n_clusters": range(2, 11)})
    values = {"lowest_bic": lowest, "lowest_icl": 2, "elbow": None}
    (claim,) = hold(number_of_clusters=Outcome({"fig4_number_of_clusters": curve}, values))
    assert claim.agrees is agrees
    assert f"lowest at {lowest} of 2 to 10" in claim.ours
    assert "elbow none" in claim.ours


def table5(silhouette, davies_bouldin, ratios):
    methods = ["K-Means", "VAE + K-Means", "two-stage VaDE"]
    compared = pd.DataFrame({"method": methods, "silhouette": silhouette, "davies_bouldin": davies_bouldin})
    clusters = [*map(str, range(1, len(ratios) + 1)), "overall"]
    rates = pd.DataFrame({"method": "two-stage VaDE", "cluster": clusters, "ratio": [*ratios, 1.0]})
    return Outcome({"table5_comparison": compared, "table5_cross_rates": rates})


def test_the_shapes_of_table_5_hold_or_do_not():
    good = hold(comparison=table5([0.07, 0.31, 0.30], [2.3, 0.87, 0.84], [4.7, 2.7, 2.6, 0.5]))
    assert [claim.agrees for claim in good] == [True, True, True]
    bad = hold(comparison=table5([0.32, 0.31, 0.30], [2.3, 0.80, 0.84], [4.7, 2.7, 2.4]))
    assert [claim.agrees for claim in bad] == [False, False, False]
    # Where all visits are in one cluster there is no index, and nothing to agree or differ with.
    blank = hold(comparison=table5([0.32, np.nan, 0.30], [2.3, 0.8, np.nan], [4.7]))
    assert [claim.agrees for claim in blank] == [None, None, False]
    few = hold(comparison=table5([0.07, 0.31, 0.30], [2.3, 0.87, 0.84], [4.7, 2.7, np.nan]))
    assert few[2].agrees is None


@pytest.mark.parametrize(
    ("spread", "ari", "agrees", "words"),
    [
        ([0.01, 0.02, 0.03], 0.95, True, "mean ARI 0.95"),
        ([0.01, 0.02, 0.03], 0.40, True, "agree only at a mean ARI of 0.40"),
        ([0.01, 0.31, 0.03], 0.95, False, "0.310"),
    ],
)
def test_indices_that_agree_are_told_from_runs_that_do(spread, ari, agrees, words):
    names = ["silhouette", "calinski_harabasz", "davies_bouldin"]
    table = pd.DataFrame([["cv", *spread, 5]], columns=["seed", *names, "n_runs"])
    (claim,) = hold(stability=Outcome({"table6_stability": table}, {"ari_mean": ari}))
    assert claim.agrees is agrees
    assert words in claim.ours


def test_one_run_tells_nothing_of_the_spread():
    names = ["silhouette", "calinski_harabasz", "davies_bouldin"]
    table = pd.DataFrame([["cv", 0.0, 0.0, 0.0, 1]], columns=["seed", *names, "n_runs"])
    (claim,) = hold(stability=Outcome({"table6_stability": table}, {"ari_mean": None}))
    assert claim.agrees is None
    assert claims.as_table([claim])[""].tolist() == ["open"]


def test_correlations_need_the_sign_and_the_size():
    def one(ours, shown):
        table = pd.DataFrame(
            {"published": [-0.76, 0.81, np.nan], "ours": [*ours, 0.9], "shown": [*shown, True]}
        )
        return hold(latents=Outcome({"table4_beside_published": table}))[0]

    assert one([-0.5, 0.5], [True, True]).agrees is True
    assert one([-0.5, -0.5], [True, True]).agrees is False
    assert one([-0.5, 0.1], [True, False]).agrees is False
    assert one([np.nan, np.nan], [False, False]).agrees is None


def test_a_claim_that_agrees_needs_no_excuse():
    table = claims.as_table(
        [claims.Claim("a", "b", "c", True, "why"), claims.Claim("a", "b", "c", False, "why")]
    )
    assert table["what may explain it"].tolist() == ["", "why"]
    assert table[""].tolist() == ["agrees", "differs"]
