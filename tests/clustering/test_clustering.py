"""Clustering by a configuration: what it is made of, what its seed decides, and rows that come later."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from jvade import clustering, ensemble, health
from jvade.analysis import consensus
from jvade.clustering import PAPER, ROBUST, Configuration
from jvade.core import fit, gmm, lanes
from jvade.core.layout import take_lane
from jvade.core.settings import Architecture, Block, Hyperparameters, Training


def test_the_named_configurations():
    """Section 2.3 to the letter, and ours."""
    assert PAPER.model == Hyperparameters(learning_rate=1e-3, weight_decay=1e-5, clip_norm=1.0)
    assert PAPER.model.latent_dim == 2
    assert PAPER.model.patience == 5
    of_a_million = Training(batch_size=1024, max_epochs=100, validation_fraction=0.2)
    assert PAPER.training.for_rows(10**6) == of_a_million
    assert PAPER.training.input_dropout == 0
    assert (PAPER.widths, PAPER.n_runs) == ((256,), 1)
    assert (ROBUST.widths, ROBUST.n_runs) == ((32,), 24)
    assert ROBUST.training.input_dropout > 0
    assert ROBUST.training.epoch_sizes(10**6) == (32 * 1024, 8 * 1024)  # however large the table
    assert [ROBUST.training.of_stage(first).max_epochs for first in (True, False)] == [20, 40]
    assert (PAPER.likelihood, ROBUST.likelihood) == ("gaussian", "by-kind")


def test_kinds_are_seen_from_the_values_where_none_are_given():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(50, 2)), rng.integers(0, 2, (50, 3)), np.zeros(50), np.ones(50)])
    kinds = (Block("gaussian", 2), Block("bernoulli", 3), Block("gaussian", 2))
    assert ROBUST.architecture(x).blocks == kinds
    given = (Block("gaussian", 2), Block("categorical", 3), Block("gaussian", 2))
    assert ROBUST.architecture(x, given).blocks == given
    assert PAPER.architecture(x, given).blocks == ()


def test_groups_far_apart_are_found_by_all_runs(groups, found):
    _, truth = groups
    assert adjusted_rand_score(truth, found.labels) > 0.95
    assert found.runs.shape == (3, 600)
    assert found.sound == [0, 1, 2]
    assert found.failures == []
    assert found.support.mean() > 0.6


def test_the_answer_is_the_consensus_of_the_runs(found, groups, small):
    likeness = ensemble.likeness(found.ensemble, groups[0], found.runs, small.training.input_dropout, 0)
    agreed, labels, support, _ = consensus.agree(list(found.runs), 3, 0, likeness=list(likeness), n_labels=4)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.support, support)
    for ours, want in zip(found.ensemble.agreed, agreed, strict=True):
        np.testing.assert_array_equal(ours, want)


def test_what_runs_mix_up_decides_which_groups_are_joined(groups, small, monkeypatch):
    """Two clusters of three groups: those that are said to be alike, whichever they are."""
    x, truth = groups

    def alike(pair, made, x, runs, hidden, seed):
        assert (hidden, seed) == (small.training.input_dropout, 0)
        return np.stack([alike_in(run, pair) for run in runs])

    def alike_in(run, pair):
        share = np.stack([np.isin(truth[run == k], pair).mean() if (run == k).any() else 0 for k in range(4)])
        return np.maximum(0.5 * np.outer(share, share), np.eye(4))

    for pair in ((0, 1), (1, 2)):
        monkeypatch.setattr(ensemble, "likeness", partial(alike, pair))
        found = clustering.cluster(x, 2, 0, small)
        assert adjusted_rand_score(np.isin(truth, pair), found.labels) > 0.9


def test_rows_that_come_later_are_placed_alike_alone_or_together(groups, found):
    x, _ = groups
    labels, support = ensemble.place(found.ensemble, x)
    np.testing.assert_array_equal(labels, found.labels)
    np.testing.assert_array_equal(support, found.support)
    few, _ = ensemble.place(found.ensemble, x[5:9])
    np.testing.assert_array_equal(few, found.labels[5:9])


def test_a_single_run_is_the_fit_itself(groups, small):
    x, _ = groups
    one = clustering.cluster(x, 4, 7, replace(small, n_runs=1))
    stack = lanes.stack([7], small.model)
    sizes = Architecture(6, widths=(16,), n_clusters=4)
    want = fit.fit(jnp.asarray(x, float), stack, sizes, small.training, small.mixture)
    np.testing.assert_array_equal(one.fit.finetuned.best_loss, want.finetuned.best_loss)
    placed = fit.assign(
        take_lane(want.finetuned.params, 0), jnp.asarray(x, float), take_lane(stack, 0), sizes
    )
    components = np.asarray(placed.responsibilities).argmax(axis=1)
    table = pd.crosstab(one.labels, components).to_numpy()
    assert (np.count_nonzero(table, axis=0) == 1).all()  # the same clusters, by falling size
    np.testing.assert_array_equal(table.sum(axis=1), np.sort(table.sum(axis=0))[::-1])
    np.testing.assert_allclose(one.support, np.asarray(placed.responsibilities).max(axis=1), rtol=1e-5)
    assert one.ensemble.agreed is None
    np.testing.assert_array_equal(ensemble.place(one.ensemble, x)[0], one.labels)


def test_the_seed_decides_everything_and_neighbours_share_no_run(groups, small, found):
    x, _ = groups
    again = clustering.cluster(x, 3, 0, small)
    np.testing.assert_array_equal(again.labels, found.labels)
    other = clustering.cluster(x, 3, 1, small)
    mine, theirs = (np.asarray(one.fit.finetuned.best_loss).tolist() for one in (found, other))
    assert not set(mine) & set(theirs)


def test_a_run_that_fails_has_no_vote_and_is_named(groups, small, monkeypatch):
    x, _ = groups

    whole = fit.fine_tune

    def broken(*arguments, **named):
        result = whole(*arguments, **named)
        finite = result.finetuned.finite.at[1].set(False)
        return result._replace(finetuned=result.finetuned._replace(finite=finite))

    monkeypatch.setattr(fit, "fine_tune", broken)
    found = clustering.cluster(x, 3, 0, small)
    assert found.sound == [0, 2]
    assert len(found.runs) == 2
    assert found.failures[0].startswith("run 2 went non-finite in the fine-tuning")
    assert len(ensemble.place(found.ensemble, x[:3])[0]) == 3


def test_where_every_run_fails_the_error_says_so(groups, small):
    hopeless = replace(small, model=small.model._replace(learning_rate=float("nan")))
    with pytest.raises(clustering.TrainingError, match="run 1 went non-finite in the pretraining"):
        clustering.cluster(groups[0], 3, 0, hopeless)


@pytest.mark.parametrize(
    ("change", "n_clusters", "words"),
    [(np.nan, 3, "got 1 of 600 with a NaN"), (0.0, 0, "expected 1 to the number of rows"), (0.0, 601, "601")],
)
def test_bad_input_is_named(groups, small, change, n_clusters, words):
    x = groups[0].copy()
    x[3, 2] += change
    with pytest.raises(ValueError, match=words):
        clustering.cluster(x, n_clusters, 0, small)


def test_rows_that_cannot_be_placed_are_refused(groups, found):
    with pytest.raises(ValueError, match="got 1 of 600 with a NaN"):
        ensemble.place(found.ensemble, np.where(np.arange(600)[:, None] == 3, np.nan, groups[0]))
    with pytest.raises(ValueError, match="expected 6 columns, got 5"):
        ensemble.place(found.ensemble, groups[0][:, :5])
    with pytest.raises(ValueError, match=r"expected a matrix of rows, got shape \(600,\)"):
        clustering.cluster(groups[0][:, 0], 3, 0)


def test_balance_goes_with_noise_that_is_learned(groups, small):
    """Variables are weighed by what they cost at the variance that training starts from."""
    x, truth = groups
    x = np.column_stack([x, truth == 0]).astype(np.float32)
    model = small.model._replace(balance=0.5)
    both = replace(small, model=model, likelihood="by-kind", noise="by-column", n_runs=1)
    found = clustering.cluster(x, 3, 0, both)
    assert found.sound == [0]
    learned = np.exp(np.asarray(found.ensemble.params.log_noise_variances))
    assert learned.shape == (1, 6)
    assert (abs(np.log(learned / model.noise_variance)) > 0.1).any()
    assert np.isfinite(health.examine(found, x).runs["gap"]).all()


@pytest.mark.long
def test_groups_that_cross_are_told_apart_by_full_covariances(crossed, small):
    """Both about one center, each a thin ridge, which is diagonal in no latents that are turned anyhow."""
    x, truth = crossed
    model, training = small.model._replace(learning_rate=5e-3), replace(small.training, input_dropout=0.0)
    how = replace(small, model=model, training=training, n_runs=1)
    scores = {
        kind: adjusted_rand_score(
            truth, clustering.cluster(x, 2, 2, replace(how, covariance_type=kind)).labels
        )
        for kind in ("diag", "full")
    }
    assert scores["full"] > 0.6
    assert scores["full"] > scores["diag"] + 0.3


@pytest.mark.long
def test_the_number_of_clusters_is_chosen_with_the_covariances_of_a_run(groups, small, monkeypatch):
    asked, fitted = [], gmm.fit
    monkeypatch.setattr(gmm, "fit", lambda *a, **how: asked.append(how) or fitted(*a, **how))
    training = replace(small.training, max_epochs=2)
    for kind in ("diag", "full"):
        how = replace(small, training=training, n_runs=1, covariance_type=kind)
        found = clustering.cluster(groups[0], (2, 3), 3, how)
        assert set(found.bics) == {2, 3}
    assert asked == [{"covariance_type": "diag"}, {"covariance_type": "full"}]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"covariance_type": "tied"}, "covariance_type: expected one of diag, full, got 'tied'"),
        ({"linkage": "single"}, "linkage: expected one of best, average, ward, got 'single'"),
    ],
)
def test_unknown_words_are_refused(setting, words):
    with pytest.raises(ValueError, match=words):
        Configuration(**setting)


def test_the_linkage_is_that_of_the_consensus_and_no_part_of_the_training(groups, small, monkeypatch):
    plain = replace(small, training=replace(small.training, max_epochs=2))
    assert replace(plain, linkage="ward").of_training() == plain.of_training()
    assert replace(plain, covariance_type="full").of_training() != plain.of_training()
    asked, agree = [], consensus.agree
    monkeypatch.setattr(
        consensus, "agree", lambda *a, **how: asked.append(how["linkage"]) or agree(*a, **how)
    )
    taken = [
        clustering.cluster(groups[0], 3, 0, replace(plain, linkage=linkage)).linkage
        for linkage in ("average", "ward", "best")
    ]
    assert asked[:3] == ["average", "ward", "best"]  # by which halves of the runs are joined comes after
    assert taken[:2] == ["average", "ward"]
    assert taken[2] in taken[:2]


def test_a_configuration_of_no_run_is_refused():
    with pytest.raises(ValueError, match="n_runs: expected a whole number, at least 1, got 0"):
        Configuration(n_runs=0)
