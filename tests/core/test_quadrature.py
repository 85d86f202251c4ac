"""Expectations over q(z|x): exact where they should be, near integrals and many draws where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jvade.core import mixture, quadrature
from jvade.core.mixture import Mixture

K = 8


def case(latent_dim, n_rows=40, seed=0):
    """A mixture of which every row is near some border: means, variances of the rows, mixture."""
    rng = np.random.default_rng([seed, latent_dim])
    shape = K, latent_dim
    drawn = Mixture(
        *map(jnp.asarray, (rng.normal(size=K), rng.normal(size=shape), rng.normal(size=shape) - 1))
    )
    return jnp.asarray(rng.normal(size=(n_rows, latent_dim))), rng.gamma(1, 0.4, (n_rows, latent_dim)), drawn


def test_points_are_pairs_and_their_first_dimensions_those_of_fewer():
    wide = quadrature.points(32)
    half, opposite = np.split(wide, 2)
    np.testing.assert_array_equal(half, -opposite)
    np.testing.assert_allclose((wide**2).mean(axis=0), 1.0, rtol=1e-10)
    np.testing.assert_allclose(np.cov(wide.T, bias=True), np.eye(32), atol=1e-10)
    for n_dims in (1, 4, 31):
        np.testing.assert_allclose(quadrature.points(n_dims), wide[:, :n_dims], rtol=1e-9, atol=1e-12)
    assert len(np.unique(wide.round(9), axis=0)) == 2 * quadrature.N_PAIRS
    with pytest.raises(ValueError, match="at most 32 latents, got 33"):
        quadrature.points(33)


def test_polynomials_of_degree_3_are_exact(x64):
    """A constant, a line, a product of two latents, a third moment: in closed form."""
    means, variances, _ = case(5)
    variances = jnp.asarray(variances)

    def polynomials(z):
        return jnp.stack(
            [jnp.full(len(z), 0.7), z @ jnp.arange(5.0), z[:, 0] * z[:, 3], z[:, 2] ** 3], axis=1
        )

    want = polynomials(means).at[:, 3].add(3 * means[:, 2] * variances[:, 2])
    got = quadrature.expectation(polynomials, means, variances)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    # The fourth is not: it says that the others are no accident of small variances.
    fourth = quadrature.expectation(lambda z: z[:, :1] ** 4, jnp.zeros_like(means), jnp.ones_like(variances))
    assert 0.01 < float(jnp.abs(fourth - 3.0).max()) < 1.0


def test_without_variance_it_is_what_the_mean_has(x64):
    means, variances, drawn = case(4)
    at_mean = mixture.responsibilities(means, drawn)
    got = mixture.expected_responsibilities(means, jnp.zeros_like(variances), drawn)
    np.testing.assert_allclose(got, at_mean, rtol=1e-12, atol=1e-300)
    assert (
        np.abs(mixture.expected_responsibilities(means, jnp.asarray(variances), drawn) - at_mean).max() > 0.1
    )


def test_in_one_latent_it_is_the_integral(x64):
    """Within 0.01 everywhere, where the value at the mean is off by up to 0.24."""
    means, variances, drawn = case(1)
    got = np.asarray(mixture.expected_responsibilities(means, jnp.asarray(variances), drawn))
    weights = np.exp(drawn.logits) / np.exp(drawn.logits).sum()
    centers, sds = np.asarray(drawn.means)[:, 0], np.exp(0.5 * np.asarray(drawn.log_variances))[:, 0]
    axis = np.linspace(-20, 20, 40_001)
    joint = weights * stats.norm.pdf(axis[:, None], centers, sds)
    shares = joint / joint.sum(axis=1, keepdims=True).clip(1e-300)
    for row, (mean, sd) in enumerate(zip(np.asarray(means)[:, 0], np.sqrt(variances)[:, 0], strict=True)):
        q = stats.norm.pdf(axis, mean, sd)
        want = integrate.simpson(q[:, None] * shares, x=axis, axis=0)
        np.testing.assert_allclose(got[row], want, atol=0.01)
    assert np.abs(got - mixture.responsibilities(means, drawn)).max() > 0.2


@pytest.mark.parametrize(
    ("latent_dim", "error"), [(2, 0.01), pytest.param(4, 0.02, marks=pytest.mark.long), (8, 0.03)]
)
def test_it_is_near_many_draws(latent_dim, error):
    """The largest error of a row, mean over rows; what 100,000 draws leave open is a tenth at most."""
    means, variances, drawn = case(latent_dim)
    rng = np.random.default_rng(1)
    sds, each = jnp.sqrt(jnp.asarray(variances)), []
    for _ in range(100):
        noise = jnp.asarray(rng.normal(size=(1000, *means.shape)))
        z = (means + sds * noise).reshape(-1, latent_dim)
        each.append(np.asarray(mixture.responsibilities(z, drawn)).reshape(1000, -1, K).mean(axis=0))
    want, left_open = np.mean(each, axis=0), np.std(each, axis=0) / 10
    assert left_open.mean() < error / 10
    got = mixture.expected_responsibilities(means, jnp.asarray(variances), drawn)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-5)
    assert float(got.min()) >= 0
    off, at_mean = (
        np.abs(found - want).max(axis=1).mean() for found in (got, mixture.responsibilities(means, drawn))
    )
    assert off < error
    assert off < at_mean / 5


def test_padding_changes_nothing(x64):
    """Latents and clusters beyond those in use, whatever stands there."""
    means, variances, drawn = case(3)
    rng = np.random.default_rng(2)
    wide = [rng.normal(size=shape) for shape in ((K + 2,), (K + 2, 5), (K + 2, 5))]
    for whole, part in zip(wide, jax.tree.leaves(drawn), strict=True):
        whole[tuple(slice(n) for n in part.shape)] = part
    more = [np.hstack([part, fill((40, 2))]) for part, fill in ((means, np.zeros), (variances, np.ones))]
    got = mixture.expected_responsibilities(*map(jnp.asarray, more), Mixture(*map(jnp.asarray, wide)), K, 3)
    want = mixture.expected_responsibilities(means, jnp.asarray(variances), drawn)
    np.testing.assert_allclose(got[:, :K], want, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(got[:, K:], 0.0)
