"""What a fitted clustering says of rows: as the core has it, and the same whoever comes along."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jvade import clustering, ensemble
from jvade.core import fit, mixture, model
from jvade.core.layout import take_lane
from jvade.core.objective import elbo_terms


@pytest.fixture(scope="module")
def one(groups, small):
    """A single run of four clusters."""
    return clustering.cluster(groups[0], 4, 7, replace(small, n_runs=1)).ensemble


@pytest.fixture(scope="module")
def full(groups, small):
    """A single run of four clusters with full covariances."""
    return clustering.cluster(groups[0], 4, 7, replace(small, n_runs=1, covariance_type="full")).ensemble


@pytest.fixture(params=["consensus", "single run", "by quadrature", "full covariances"])
def made(request, found, one, full):
    if request.param == "by quadrature":
        return one._replace(responsibilities="quadrature")
    if request.param == "full covariances":
        return full
    return found.ensemble if request.param == "consensus" else one


QUESTIONS = {
    "place": ensemble.place,
    "components": lambda made, x: [ensemble.components(made, x).T],
    "memberships": lambda made, x: [ensemble.memberships(made, x)],
    "encode": ensemble.encode,
    "bounds": lambda made, x: [ensemble.bounds(made, x)],
}


@pytest.mark.bitwise
@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_said_of_a_row_does_not_depend_on_the_rows_beside_it(made, groups, question):
    """To the bit: alone, in another order, across the border of a block."""
    ask, x = QUESTIONS[question], groups[0].astype(np.float32)
    whole = ask(made, x)
    for rows in (np.array([17]), np.arange(600)[::-1], np.tile(np.arange(600), 8)):
        for some, of_all in zip(ask(made, x[rows]), whole, strict=True):
            np.testing.assert_array_equal(some, of_all[rows])
    for nothing, of_all in zip(ask(made, x[:0]), whole, strict=True):
        assert nothing.shape == (0, *of_all.shape[1:])


def test_components_are_those_of_the_core(found, groups):
    """Under the parameters and settings of each run."""
    x = jnp.asarray(groups[0], jnp.float32)
    labels = ensemble.components(found.ensemble, x)
    for run, lane in enumerate(found.sound):
        alone, responsibilities = ensemble.place(found.ensemble.alone(run), x)
        params = take_lane(found.fit.finetuned.params, lane)
        want = fit.assign(params, x, take_lane(found.lanes, lane), found.ensemble.architecture)
        np.testing.assert_array_equal(labels[run], np.argmax(want.responsibilities, axis=1))
        np.testing.assert_array_equal(alone, labels[run])
        np.testing.assert_allclose(responsibilities, np.max(want.responsibilities, axis=1), rtol=1e-5)


def test_the_likeness_of_whole_rows_is_that_of_their_responsibilities(found, groups):
    """Nothing hidden: pair by pair, the chance that draws from the responsibilities of both rows are one."""
    likeness = ensemble.likeness(found.ensemble, groups[0], found.runs, 0.0, 0)
    for run, lane in enumerate(found.sound):
        params = take_lane(found.fit.finetuned.params, lane)
        x, lane = jnp.asarray(groups[0], jnp.float32), take_lane(found.lanes, lane)
        gamma = np.asarray(fit.assign(params, x, lane, found.ensemble.architecture).responsibilities, float)
        own = gamma.argmax(axis=1)
        for a in range(4):
            for b in range(4):
                pairs = gamma[own == a] @ gamma[own == b].T
                want = 1 if a == b else pairs.mean() if pairs.size else 0
                assert likeness[run, a, b] == pytest.approx(want, abs=1e-6)


def test_the_likeness_of_rows_seen_in_part_is_how_often_they_fall_together(found, groups):
    """By draws of pairs of rows, of what is hidden of them, and of a component for each."""
    rng, x, hidden = np.random.default_rng(0), groups[0].astype(np.float32), 0.7
    labels = ensemble.components(found.ensemble, x)
    likeness = ensemble.likeness(found.ensemble, x, labels, hidden, 0)
    np.testing.assert_allclose(likeness, likeness.transpose(0, 2, 1), rtol=1e-12)
    for run in range(len(found.sound)):
        alone = found.ensemble.alone(run)
        a, b = (int(k) for k in np.argsort(-np.bincount(labels[run], minlength=4))[:2])
        drawn = []
        for k in (a, b):
            rows = x[rng.choice(np.flatnonzero(labels[run] == k), 20_000)]
            seen = np.where(rng.random(rows.shape) < hidden, x.mean(axis=0), rows)
            gamma = ensemble.memberships(alone, seen).astype(float)
            drawn.append((gamma.cumsum(axis=1) < rng.random((len(gamma), 1))).sum(axis=1))
        share = (drawn[0] == drawn[1]).mean()
        # Of 20,000 pairs, and of eight views of a hundred rows or more each: a few hundredths at the most.
        assert likeness[run, a, b] == pytest.approx(share, abs=0.03)
        assert share > 0.1  # what is hidden does bring them together


def test_memberships_are_shares_and_place_gives_the_largest(made, groups):
    shares = ensemble.memberships(made, groups[0])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (shares >= 0).all()
    labels, support = ensemble.place(made, groups[0])
    np.testing.assert_array_equal(shares.argmax(axis=1), labels)
    if made.agreed is None:
        np.testing.assert_array_equal(shares.max(axis=1), support)


def test_responsibilities_by_quadrature_are_those_of_the_core(one, groups):
    made = one._replace(responsibilities="quadrature")
    params, settings = jax.tree.map(jnp.asarray, made.run(0))
    x = jnp.asarray(groups[0], jnp.float32)
    means, log_variances = model.encode(params, x, made.architecture, settings.latent_dim)
    want = mixture.expected_responsibilities(means, jnp.exp(log_variances), params.mixture)
    np.testing.assert_allclose(ensemble.memberships(made, groups[0]), want, rtol=1e-4, atol=1e-6)
    assert np.abs(want - ensemble.memberships(one, groups[0])).max() > 1e-2


def test_the_best_run_stands_for_all(found, groups):
    """Its latents, and its bound: what the objective gives in the mean of many draws."""
    losses = np.asarray(found.fit.finetuned.best_loss)
    made = found.ensemble
    assert found.sound[made.best] == np.argmin(losses)
    params, settings = jax.tree.map(jnp.asarray, made.run(made.best))
    x = jnp.asarray(groups[0], jnp.float32)
    want = model.encode(params, x, made.architecture, settings.latent_dim)
    got = ensemble.encode(made, x)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    of_draws = jax.jit(lambda noise: elbo_terms(params, x, noise, made.architecture, settings).elbo())
    noises = np.random.default_rng(0).normal(size=(2000, 600, 2)).astype(np.float32)
    each = np.stack([of_draws(noise) for noise in noises])
    error = each.std(axis=0) / np.sqrt(len(each))
    off = ensemble.bounds(made, x) - each.mean(axis=0)
    assert np.mean(np.abs(off) < 0.02 + 4 * error) > 0.95
    assert abs(off.mean()) < 0.02


def test_draws_have_the_moments_of_the_rows(one, groups):
    """A model of three groups far apart gives rows like those it was fitted to."""
    x, component = ensemble.draw(one, 20_000, 0)
    np.testing.assert_allclose(x.mean(axis=0), groups[0].mean(axis=0), atol=0.15)
    np.testing.assert_allclose(np.cov(x.T), np.cov(groups[0].T), atol=0.25)
    weights = jax.nn.softmax(one.params.mixture.logits[0])
    np.testing.assert_allclose(np.bincount(component, minlength=4) / 20_000, weights, atol=0.02)
    again, _ = ensemble.draw(one, 20_000, 0)
    np.testing.assert_array_equal(x, again)


def test_full_covariances_are_those_of_the_densities_and_of_the_draws(full, monkeypatch):
    weights, means, covariances = ensemble.mixture(full)
    assert covariances.shape == (4, 2, 2)
    params, _ = full.run(0)
    z = np.random.default_rng(0).normal(size=(50, 2))
    want = [stats.multivariate_normal(*one).logpdf(z) for one in zip(means, covariances, strict=True)]
    got = mixture.log_joint(jnp.asarray(z), jax.tree.map(jnp.asarray, params.mixture))
    np.testing.assert_allclose(got, np.transpose(want) + np.log(weights), rtol=1e-3, atol=1e-3)
    latents = []
    decode = ensemble.decode
    monkeypatch.setattr(ensemble, "decode", lambda made, z: latents.append(z) or decode(made, z))
    _, component = ensemble.draw(full, 40_000, 0)
    for number in np.flatnonzero(np.bincount(component, minlength=4) > 2_000):
        drawn = latents[0][component == number]
        np.testing.assert_allclose(np.cov(drawn.T), covariances[number], rtol=0.1, atol=0.02)
        np.testing.assert_allclose(drawn.mean(axis=0), means[number], atol=0.05)


def test_latents_go_there_and_back(one, groups):
    x = groups[0].astype(np.float32)
    back = ensemble.decode(one, ensemble.encode(one, x).means)
    assert np.mean((back - x) ** 2) < 0.3 * np.mean(x**2)
    with pytest.raises(ValueError, match="expected 2 columns, got 3"):
        ensemble.decode(one, np.zeros((4, 3)))


def test_a_number_of_clusters_is_chosen_by_bic(groups, small):
    found = clustering.cluster(groups[0], (2, 3, 4), 0, replace(small, n_runs=1))
    assert set(found.bics) == {2, 3, 4}
    assert found.n_clusters == min(found.bics, key=lambda k: found.bics[k])
    assert found.ensemble.params.mixture.logits.shape == (1, found.n_clusters)
    assert found.bics[3] < found.bics[2]
