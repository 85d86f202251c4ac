"""Density, responsibilities, BIC and ICL against scikit-learn with the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

from jvade.core import em, mixture
from jvade.core.em import Components
from jvade.core.mixture import Mixture

#: Full ones of other scales are in the long tests: each size is compiled for a second.
KINDS = [("diag", 0.1), ("diag", 1.0), ("diag", 10.0), ("full", 1.0)]
KINDS += [pytest.param("full", scale, marks=pytest.mark.long) for scale in (0.1, 10.0)]
SIZES = [(2, 2), (2, 7), (2, 30), (5, 10), (15, 7), (20, 3), (30, 2), (30, 30)]


def draw(n_latents, n_clusters, scale, covariance_type="diag", n_rows=300, seed=0):
    """A mixture as scikit-learn holds it, with unit-variance-like clusters, and rows to score."""
    rng = np.random.default_rng([seed, n_latents, n_clusters])
    oracle = GaussianMixture(n_clusters, covariance_type=covariance_type)
    oracle.weights_ = rng.dirichlet(np.full(n_clusters, 2.0))
    oracle.means_ = scale * rng.normal(size=(n_clusters, n_latents))
    if covariance_type == "diag":
        oracle.covariances_ = scale**2 * rng.gamma(3, 0.3, (n_clusters, n_latents)) + 1e-3 * scale**2
    else:
        a = rng.normal(size=(n_clusters, n_latents, n_latents))
        oracle.covariances_ = scale**2 * (a @ a.transpose(0, 2, 1) / n_latents + 0.1 * np.eye(n_latents))
    oracle.precisions_cholesky_ = _compute_precision_cholesky(oracle.covariances_, covariance_type)
    oracle.n_features_in_ = n_latents
    oracle.converged_ = True
    labels = rng.integers(0, n_clusters, n_rows)
    z = oracle.means_[labels] + scale * rng.normal(size=(n_rows, n_latents))
    return oracle, z


def as_mixture(oracle):
    """By hand if diagonal: what VaDE trains. A full one by the way that EM starts it."""
    parts = np.log(oracle.weights_), oracle.means_, oracle.covariances_
    if oracle.covariance_type == "full":
        return em.as_mixture(Components(*map(jnp.asarray, parts)))
    return Mixture(*map(jnp.asarray, (*parts[:2], np.log(parts[2]))))


def log_density(z, params):
    """Return log p(z) of every row."""
    return jax.nn.logsumexp(mixture.log_joint(jnp.asarray(z), params), axis=-1)


@pytest.mark.parametrize(("covariance_type", "scale"), KINDS)
@pytest.mark.parametrize(("n_latents", "n_clusters"), SIZES)
def test_equals_scikit_learn_in_double_precision(x64, n_latents, n_clusters, covariance_type, scale):
    oracle, z = draw(n_latents, n_clusters, scale, covariance_type)
    params = as_mixture(oracle)
    np.testing.assert_allclose(log_density(z, params), oracle.score_samples(z), rtol=1e-8)
    np.testing.assert_allclose(
        mixture.responsibilities(jnp.asarray(z), params), oracle.predict_proba(z), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize(("covariance_type", "scale"), KINDS)
@pytest.mark.parametrize(("n_latents", "n_clusters"), SIZES)
def test_equals_scikit_learn_in_single_precision(n_latents, n_clusters, covariance_type, scale):
    oracle, z = draw(n_latents, n_clusters, scale, covariance_type)
    params = as_mixture(oracle)
    assert params.means.dtype == jnp.float32
    # A density near 1 has a log near 0, where "relative" says nothing: an absolute floor stands in. Full
    # covariances are rounded before they are factored, of a condition of thousands.
    floor = 1e-5 if covariance_type == "diag" else 1e-4
    np.testing.assert_allclose(log_density(z, params), oracle.score_samples(z), rtol=1e-5, atol=floor)
    np.testing.assert_allclose(
        mixture.responsibilities(jnp.asarray(z), params), oracle.predict_proba(z), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("n_latents", [2, 5, 10, 15, 20, 25, 30])
def test_responsibilities_stay_sure_in_many_latents(n_latents):
    """Pitfall: exp(log p) + 1e-10, normalised, falls to 1/K from 20 latents on."""
    oracle, z = draw(n_latents, 7, 1.0)
    got = np.asarray(mixture.responsibilities(jnp.asarray(z), as_mixture(oracle)))
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(got.max(axis=1), oracle.predict_proba(z).max(axis=1), atol=1e-3)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("covariance_type", ["diag", "full"])
@pytest.mark.parametrize(("n_latents", "n_clusters"), [(2, 2), (2, 7), (2, 30), (10, 12), (30, 2), (30, 30)])
def test_criteria_equal_scikit_learn(x64, n_latents, n_clusters, covariance_type, scale):
    oracle, z = draw(n_latents, n_clusters, scale, covariance_type)
    components = Components(
        jnp.log(oracle.weights_), jnp.asarray(oracle.means_), jnp.asarray(oracle.covariances_)
    )
    bound, bic, icl = em.criteria(jnp.asarray(z), em.as_mixture(components), n_clusters, n_latents)
    np.testing.assert_allclose(bound, oracle.score(z), rtol=1e-8)
    np.testing.assert_allclose(bic, oracle.bic(z), rtol=1e-8)
    gamma = oracle.predict_proba(z)
    entropy = -np.sum(gamma * np.log(np.maximum(gamma, 1e-300)))
    np.testing.assert_allclose(icl, oracle.bic(z) + 2 * entropy, rtol=1e-8)
    np.testing.assert_allclose(
        jax.nn.softmax(em.log_joint(jnp.asarray(z), components), axis=-1), gamma, atol=1e-8
    )


@pytest.mark.parametrize(
    ("n_clusters", "latent_dim", "covariance_type", "count"),
    [(1, 1, "diag", 2), (1, 1, "full", 2), (7, 2, "diag", 34), (7, 2, "full", 41), (3, 5, "diag", 32)],
)
def test_number_of_parameters(n_clusters, latent_dim, covariance_type, count):
    assert em.n_parameters(n_clusters, latent_dim, covariance_type) == count


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_padding_changes_nothing(x64, covariance_type):
    oracle, z = draw(3, 4, 1.0, covariance_type)
    plain = Components(jnp.log(oracle.weights_), jnp.asarray(oracle.means_), jnp.asarray(oracle.covariances_))
    rng = np.random.default_rng(1)
    log_weights, means = rng.normal(size=9), rng.normal(size=(9, 6))
    # Whatever stands in a padded cluster must not matter; padded latents are as EM leaves them.
    covariances = np.ones((9, 6)) if covariance_type == "diag" else np.tile(np.eye(6), (9, 1, 1))
    log_weights[:4], means[:4, :3], means[:, 3:] = plain.log_weights, plain.means, 0.0
    if covariance_type == "diag":
        covariances[:4, :3] = plain.covariances
    else:
        covariances[:4, :3, :3] = plain.covariances
    padded = Components(*map(jnp.asarray, (log_weights, means, covariances)))
    z_padded = jnp.pad(jnp.asarray(z), ((0, 0), (0, 3)))
    got = em.log_joint(z_padded, padded, 4, 3)
    np.testing.assert_allclose(got[:, :4], em.log_joint(jnp.asarray(z), plain), rtol=1e-12)
    assert np.all(np.asarray(jax.nn.softmax(got, axis=-1))[:, 4:] == 0.0)
    criteria = (
        em.criteria(rows, em.as_mixture(components), 4, 3)
        for rows, components in ((z_padded, padded), (jnp.asarray(z), plain))
    )
    for a, b in zip(*criteria, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_permuting_clusters_permutes_responsibilities():
    oracle, z = draw(2, 7, 1.0)
    params, order = as_mixture(oracle), np.random.default_rng(0).permutation(7)
    permuted = jax.tree.map(lambda leaf: leaf[order], params)
    np.testing.assert_allclose(
        mixture.responsibilities(jnp.asarray(z), permuted),
        mixture.responsibilities(jnp.asarray(z), params)[:, order],
        atol=1e-6,
    )


def test_far_rows_and_extreme_log_variances_stay_finite():
    params = Mixture(jnp.zeros(2), jnp.zeros((2, 3)), jnp.array([[-1e3] * 3, [1e3] * 3]))
    z = jnp.array([[0.0, 0.0, 0.0], [1e4, -1e4, 1e4]])
    assert np.all(np.isfinite(mixture.responsibilities(z, params)))
    assert np.all(np.isfinite(log_density(z, params)))


@pytest.mark.parametrize(("n_latents", "n_clusters"), [(2, 7), (5, 3)])
def test_the_expectation_under_full_covariances(x64, n_latents, n_clusters):
    """log N(mean; mu, Sigma) - tr(Sigma^-1 diag variances) / 2; padding says nothing."""
    oracle, z = draw(n_latents, n_clusters, 1.0, "full")
    padded, wide = em.as_mixture(Components(*pad(oracle, 2))), ((0, 0), (0, 2))
    variances = np.random.default_rng(0).gamma(2, size=z.shape)
    got = mixture.expected_log_normal(
        jnp.pad(jnp.asarray(z), wide), jnp.pad(jnp.asarray(variances), wide), padded, n_latents
    )
    for c in range(n_clusters):
        density = stats.multivariate_normal(oracle.means_[c], oracle.covariances_[c]).logpdf(z)
        traces = variances @ np.diagonal(np.linalg.inv(oracle.covariances_[c]))
        np.testing.assert_allclose(got[:, c], density - traces / 2, rtol=1e-9)


def pad(oracle, n_more):
    """The parameters with more latents, which mean nothing but go with the others."""
    rng, n = np.random.default_rng(1), len(oracle.means_[0])
    covariances = np.tile(np.eye(n + n_more), (len(oracle.means_), 1, 1))
    covariances[:, :n, :n] = oracle.covariances_
    mixing = np.eye(n + n_more)
    mixing[n:] += 0.3 * rng.normal(size=(n_more, n + n_more))
    means = np.pad(oracle.means_, ((0, 0), (0, n_more)), constant_values=3.0)
    return map(jnp.asarray, (np.log(oracle.weights_), means, mixing @ covariances @ mixing.T))


def test_full_covariances_there_and_back(x64):
    oracle, _ = draw(4, 3, 2.0, "full")
    params = em.as_mixture(Components(*pad(oracle, 0)))
    want = np.linalg.cholesky(oracle.covariances_)
    np.testing.assert_allclose(mixture.factors(params), want, rtol=1e-9, atol=1e-12)
    # What stands on the diagonal of A and above counts for nothing, nor do padded latents.
    noise = jnp.triu(jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 4))))
    moved = params._replace(shears=params.shears + noise)
    np.testing.assert_allclose(mixture.factors(moved), want, rtol=1e-9, atol=1e-12)
    padded = mixture.factors(em.as_mixture(Components(*pad(oracle, 2))), 4)
    np.testing.assert_allclose(padded[:, :4, :4], want, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(padded[:, 4:], np.tile(np.eye(6)[4:], (3, 1, 1)))
    diagonal = mixture.factors(params._replace(shears=None))
    sds = np.exp(0.5 * params.log_variances)
    np.testing.assert_allclose(diagonal, sds[..., None] * np.eye(4), rtol=1e-12)


def test_gradients_under_full_covariances_are_those_of_the_densities(x64):
    """By differences of SciPy's log-densities less the traces, parameter by parameter."""
    rng, k, d = np.random.default_rng(0), 2, 3
    given = [rng.normal(size=shape) for shape in ((4, d), (k, d), (k, d), (k, d, d), (4, k))]
    given.insert(1, rng.gamma(2, size=(4, d)))

    def ours(z, variances, means, log_variances, shears, slopes):
        params = Mixture(jnp.zeros(k), means, log_variances, shears)
        return jnp.sum(mixture.expected_log_normal(z, variances, params) * slopes)

    def plain(z, variances, means, log_variances, shears, slopes):
        total = 0.0
        for c in range(k):
            inverse = np.linalg.inv(np.eye(d) + np.tril(shears[c], -1))
            sigma = inverse @ np.diag(np.exp(log_variances[c])) @ inverse.T
            traces = variances @ np.diagonal(np.linalg.inv(sigma))
            total += slopes[:, c] @ (stats.multivariate_normal(means[c], sigma).logpdf(z) - traces / 2)
        return total

    got = jax.grad(ours, tuple(range(5)))(*map(jnp.asarray, given))
    for number, slope in enumerate(got):
        want, step = np.zeros(slope.shape), 1e-5
        for place in np.ndindex(slope.shape):
            moved = [[leaf.copy() for leaf in given] for _ in range(2)]
            moved[0][number][place] += step
            moved[1][number][place] -= step
            want[place] = (plain(*moved[0]) - plain(*moved[1])) / (2 * step)
        np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("n_latents", "n_clusters"), [(2, 7), (30, 10)])
@pytest.mark.parametrize("by_variances", [False, True])
@pytest.mark.parametrize(("dtype", "sd", "tolerance"), [("float64", 0.01, 1e-9), ("float32", 0.1, 1e-4)])
def test_gradients_are_those_of_the_plain_sum(x64, n_latents, n_clusters, by_variances, dtype, sd, tolerance):
    """Tight clusters away from 0, padding included; by norm of each gradient."""
    rng = np.random.default_rng(n_latents)
    wide = n_latents + 2
    means = rng.normal(loc=3, size=(n_clusters, wide))
    mixtures = Mixture(
        rng.normal(size=n_clusters), means, np.log(sd) + 0.1 * rng.normal(size=(n_clusters, wide))
    )
    z = means[rng.integers(n_clusters, size=200)] + sd * rng.normal(size=(200, wide))
    given = (z, sd**2 * rng.gamma(2, size=z.shape), mixtures, rng.normal(size=(200, n_clusters)))
    z, variances, mixtures, slopes = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), given)

    def plain(z, variances, params):
        spread = (z[:, None] - params.means) ** 2
        spread = spread + variances[:, None] if by_variances else spread
        each = jnp.log(2 * jnp.pi) + params.log_variances + spread / jnp.exp(params.log_variances)
        return -0.5 * each[..., :n_latents].sum(axis=-1)

    def ours(z, variances, params):
        return mixture.expected_log_normal(z, variances if by_variances else None, params, n_latents)

    got, want = (
        jax.grad(lambda *a, f=f: jnp.sum(f(*a) * slopes), (0, 1, 2))(z, variances, mixtures)
        for f in (ours, plain)
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert jnp.linalg.norm(a - b) <= tolerance * jnp.linalg.norm(b)
