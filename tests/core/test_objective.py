"""The ELBO against an independent computation, against log p(x), and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jvade.core import model, networks
from jvade.core.mixture import Mixture
from jvade.core.model import Parameters
from jvade.core.objective import elbo_terms
from jvade.core.settings import Architecture, Hyperparameters

N, D, L, K = 5, 4, 2, 3
ARCHITECTURE = Architecture(D, latent_dim=L, n_clusters=K, widths=(6,))
HYPER = Hyperparameters(noise_variance=0.3, latent_dim=L, n_clusters=K)
#: Compiled once: what is not compiled whole is compiled primitive by primitive, which takes longer.
terms = jax.jit(elbo_terms, static_argnames="architecture")


@pytest.fixture(params=[1, 100], ids=["rows last", "rows first"])
def products(request, monkeypatch):
    """The products of the latents one way round and the other."""
    monkeypatch.setattr(networks, "MANY_LATENTS", request.param)
    jax.clear_caches()
    yield
    jax.clear_caches()


def case(seed=0, covariance_type="diag"):
    rng = np.random.default_rng(seed)
    params = model.init(jax.random.key(seed), ARCHITECTURE, L)
    mix = Mixture(*(jnp.asarray(rng.normal(size=s)) for s in ((K,), (K, L), (K, L))))
    if covariance_type == "full":
        mix = mix._replace(shears=jnp.asarray(np.random.default_rng(9).normal(size=(K, L, L))))
    x, noise = jnp.asarray(rng.normal(size=(N, D))), jnp.asarray(rng.normal(size=(N, L)))
    return params._replace(mixture=mix), x, noise


def numpy_networks(params, x, z=None):
    """The two networks written out: kernels are stored with their wide axis last."""
    p = jax.tree.map(np.asarray, params)
    h = np.maximum(x @ p.encoder["Dense_0"]["kernel"] + p.encoder["Dense_0"]["bias"], 0)
    mean = h @ p.encoder["means"]["kernel"].T + p.encoder["means"]["bias"]
    log_var = h @ p.encoder["log_variances"]["kernel"].T + p.encoder["log_variances"]["bias"]

    def decode(z):
        h = np.maximum(z @ p.decoder["Dense_0"]["kernel"] + p.decoder["Dense_0"]["bias"], 0)
        return h @ p.decoder["means"]["kernel"].T + p.decoder["means"]["bias"]

    return mean, log_var, decode


def numpy_elbo(params, x, noise, noise_variance):
    """Jiang et al. 2017, Eq. (12), with loops: one row, one cluster, one latent at a time."""
    x, noise = np.asarray(x), np.asarray(noise)
    mean, log_var, decode = numpy_networks(params, x)
    mix = jax.tree.map(np.asarray, params.mixture)
    pi = np.exp(mix.logits) / np.sum(np.exp(mix.logits))
    var_c = np.exp(mix.log_variances)
    # A Sigma A' = diag var_c; A = I where there is none.
    a = [np.eye(L) if mix.shears is None else np.eye(L) + np.tril(mix.shears[c], -1) for c in range(K)]
    sigmas = [np.linalg.inv(a[c]) @ np.diag(var_c[c]) @ np.linalg.inv(a[c]).T for c in range(K)]
    out = []
    for n in range(len(x)):
        sd = np.exp(0.5 * log_var[n])
        z = mean[n] + sd * noise[n]
        error = x[n] - decode(z[None])[0]
        reconstruction = sum(
            -0.5 * (np.log(2 * np.pi * noise_variance) + e**2 / noise_variance) for e in error
        )
        priors = [stats.multivariate_normal(mix.means[c], sigmas[c]) for c in range(K)]
        joint = np.array([pi[c] * priors[c].pdf(z) for c in range(K)])
        gamma = joint / joint.sum()
        cross = sum(
            gamma[c] * (0.5 * np.trace(np.linalg.inv(sigmas[c]) @ np.diag(sd**2)) - priors[c].logpdf(mean[n]))
            for c in range(K)
        )
        entropy = sum(0.5 * (1 + np.log(2 * np.pi * s**2)) for s in sd)
        out.append((reconstruction, np.sum(gamma * np.log(gamma / pi)), cross, entropy))
    return np.array(out).T


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_terms_equal_an_independent_computation(x64, products, covariance_type):
    params, x, noise = case(covariance_type=covariance_type)
    got = terms(params, x, noise, ARCHITECTURE, HYPER)
    np.testing.assert_allclose(np.array(got), numpy_elbo(params, x, noise, 0.3), rtol=1e-10)
    rec, cat, cross, entropy = got
    np.testing.assert_allclose(got.elbo(), rec - cat - cross + entropy, rtol=1e-12)
    np.testing.assert_allclose(got.elbo(0.25), rec - 0.25 * (cat + cross - entropy), rtol=1e-12)


def test_pretraining_is_the_vae_loss(x64):
    """Under one standard normal: no categorical term, and the closed-form KL to N(0, I)."""
    params, x, noise = case()
    got = terms(params._replace(mixture=None), x, noise, ARCHITECTURE, HYPER)
    mean, log_var, _ = numpy_networks(params, np.asarray(x))
    np.testing.assert_allclose(got.categorical_kl, 0.0, atol=1e-12)
    kl = 0.5 * np.sum(mean**2 + np.exp(log_var) - log_var - 1, axis=1)
    np.testing.assert_allclose(got.gaussian_kl, kl, rtol=1e-10)


@pytest.mark.parametrize("pretraining", [True, False])
def test_log_likelihood_stays_above_the_elbo(x64, pretraining):
    """log p(x) by integration over z: a 2-D grid fine and wide enough to hold p(z) entirely."""
    params, x, _ = case()
    params = params._replace(mixture=None) if pretraining else params
    *_, decode = numpy_networks(params, np.asarray(x))
    mix = jax.tree.map(np.asarray, params.prior(L))
    axis, step = np.linspace(-25, 25, 501, retstep=True)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, L)
    weights = np.exp(mix.logits) / np.exp(mix.logits).sum()
    var_c = np.exp(mix.log_variances)
    prior = sum(
        w * np.prod(np.exp(-0.5 * (grid - m) ** 2 / v) / np.sqrt(2 * np.pi * v), axis=1)
        for w, m, v in zip(weights, mix.means, var_c, strict=True)
    )
    assert abs(prior.sum() * step**2 - 1) < 1e-3
    decoded = decode(grid)
    log_px = [
        np.log(
            np.sum(prior * np.prod(np.exp(-((row - decoded) ** 2) / 0.6) / np.sqrt(0.6 * np.pi), axis=1))
            * step**2
        )
        for row in np.asarray(x)
    ]
    draws = jax.random.normal(jax.random.key(7), (4000, N, L))
    elbos = jax.vmap(lambda e: terms(params, x, e, ARCHITECTURE, HYPER).elbo())(draws)
    gap = np.array(log_px) - np.mean(elbos, axis=0)
    standard_errors = np.std(elbos, axis=0) / np.sqrt(4000)
    assert np.all(gap > 3 * standard_errors), gap


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_log_likelihood_by_importance_sampling_stays_above(x64, seed):
    """A Monte Carlo estimate of log p(x) with q(z|x) as the proposal, as a user could make it."""
    params, x, _ = case(seed)
    posterior = model.encode(params, x, ARCHITECTURE, L)
    noise = jax.random.normal(jax.random.key(seed), (20000, N, L))

    def log_weight(e):
        from jvade.core import likelihoods, mixture

        sd = jnp.exp(0.5 * posterior.log_variances)
        z = posterior.means + sd * e
        log_q = jnp.sum(-0.5 * e**2 - jnp.log(sd) - 0.5 * jnp.log(2 * jnp.pi), axis=1)
        log_px = likelihoods.gaussian(x, model.decode(params, z, ARCHITECTURE, L), 0.3)
        log_pz = jax.nn.logsumexp(mixture.log_joint(z, params.mixture), axis=-1)
        return log_px + log_pz - log_q

    estimate = jax.nn.logsumexp(jax.lax.map(log_weight, noise), axis=0) - jnp.log(20000)
    elbo = jnp.mean(jax.lax.map(lambda e: terms(params, x, e, ARCHITECTURE, HYPER).elbo(), noise), axis=0)
    assert np.all(np.asarray(estimate) > np.asarray(elbo))


@pytest.mark.parametrize("pretraining", [True, False])
def test_gradients_equal_finite_differences(x64, products, pretraining):
    params, x, noise = case()
    params = params._replace(mixture=None) if pretraining else params

    @jax.jit
    def f(p):
        return jnp.mean(terms(p, x, noise, ARCHITECTURE, HYPER).elbo(0.7))

    gradient = jax.jit(jax.grad(f))(params)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    for i, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
        direction = rng.normal(size=leaf.shape)
        step = 1e-5

        def moved(sign, i=i, leaf=leaf, direction=direction, step=step):
            return f(
                jax.tree.unflatten(tree, [*leaves[:i], leaf + sign * step * direction, *leaves[i + 1 :]])
            )

        difference = (moved(1) - moved(-1)) / (2 * step)
        np.testing.assert_allclose(np.sum(np.asarray(slope) * direction), difference, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
@pytest.mark.parametrize("many", [networks.MANY_LATENTS, 5])
def test_padded_latents_and_clusters_change_nothing(x64, monkeypatch, many, covariance_type):
    """d = 2 of 5 latents and K = 3 of 6 clusters give the numbers of the unpadded model."""
    params, x, noise = case(covariance_type=covariance_type)
    wide = Architecture(D, latent_dim=5, n_clusters=6, widths=(6,))
    rng = np.random.default_rng(3)
    padded = model.init(jax.random.key(0), wide, L)
    parts = jax.tree.leaves(params.mixture)
    big = [rng.normal(size=s) for s in ((6,), (6, 5), (6, 5), (6, 5, 5))[: len(parts)]]
    for whole, part in zip(big, parts, strict=True):
        whole[tuple(slice(0, n) for n in part.shape)] = part
    padded = padded._replace(mixture=Mixture(*map(jnp.asarray, big)))
    noise_padded = jnp.concatenate([noise, jnp.asarray(rng.normal(size=(N, 3)))], axis=1)
    want = terms(params, x, noise, ARCHITECTURE, HYPER)
    monkeypatch.setattr(networks, "MANY_LATENTS", many)
    got = jax.jit(lambda *given: elbo_terms(*given, wide, HYPER))(padded, x, noise_padded)
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-10)


def test_assignment_is_deterministic_and_independent_of_batch_mates():
    params, x, _ = case()
    rows = jnp.tile(x.astype(jnp.float32), (2000, 1))
    whole = model.assign(params, rows, ARCHITECTURE, L, K)
    again = model.assign(params, rows, ARCHITECTURE, L, K)
    assert np.array_equal(whole.responsibilities, again.responsibilities)
    part = model.assign(params, rows[:N], ARCHITECTURE, L, K)
    np.testing.assert_allclose(whole.responsibilities[:N], part.responsibilities, atol=1e-6)
    np.testing.assert_allclose(whole.latents[-N:], part.latents, atol=1e-5)


def test_some_rows_of_a_table_are_encoded_as_in_the_whole_of_it(monkeypatch):
    """In any order, some of them twice, over more than a chunk."""
    monkeypatch.setattr(model, "CHUNK_ROWS", 8)
    params = model.init(jax.random.key(0), ARCHITECTURE, L)
    rows = jax.random.normal(jax.random.key(1), (30, D))
    taken = jnp.array([29, 0, 7, 7, 3, 12, 28, 1, 16, 4, 5])
    whole = model.encode_rows(params, rows, ARCHITECTURE, L)
    some = model.encode_rows(params, rows, ARCHITECTURE, L, taken)
    for one, all_rows in zip(some, whole, strict=True):
        np.testing.assert_allclose(one, all_rows[taken], rtol=1e-6)


def test_parameters_without_mixture_have_a_standard_normal_prior():
    prior = Parameters({}, {}).prior(3)
    assert prior.means.shape == (1, 3)
    assert not np.any(prior.log_variances)
