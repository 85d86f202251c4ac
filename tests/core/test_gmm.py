"""EM and its starts: cases by hand, rising likelihood, scikit-learn, padding, collapse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from jvade.core import em, gmm
from jvade.core.em import Components, Moments
from jvade.core.gmm import EmSettings

#: Nothing is added to a variance.
EXACT = EmSettings(reg_covar=0.0)


def blobs(n_rows=600, n_clusters=4, n_latents=2, seed=0, spread=0.5):
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=4, size=(n_clusters, n_latents))
    labels = rng.integers(0, n_clusters, n_rows)
    return centers[labels] + spread * rng.normal(size=(n_rows, n_latents)), labels


def m_step(z, responsibilities, covariance_type, reg_covar):
    """The M step from given memberships, its sums about an origin of each cluster."""
    z, responsibilities = jnp.asarray(z), jnp.asarray(responsibilities).T
    origin = jnp.arange(responsibilities.shape[0] * z.shape[1], dtype=z.dtype).reshape(-1, z.shape[1])
    sums = em.moments(z.T - origin[:, :, None], responsibilities, covariance_type)
    return em.m_step(Moments(*sums, origin), len(z), None, covariance_type, reg_covar)


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_one_component_is_mean_and_covariance(x64, covariance_type):
    z, _ = blobs()
    got = gmm.fit(jax.random.key(0), jnp.asarray(z), [1], None, EXACT, covariance_type=covariance_type)
    np.testing.assert_allclose(got.components.means[0, 0], z.mean(axis=0), rtol=1e-10)
    want = z.var(axis=0) if covariance_type == "diag" else np.cov(z.T, bias=True)
    np.testing.assert_allclose(got.components.covariances[0, 0], want, rtol=1e-10)
    assert got.converged[0]


def test_one_latent_gives_one_bic_for_both_covariances(x64):
    z, _ = blobs(n_latents=1)
    fits = [
        gmm.fit(jax.random.key(0), jnp.asarray(z), [1, 2, 3], covariance_type=kind)
        for kind in ("diag", "full")
    ]
    np.testing.assert_allclose(fits[0].bic, fits[1].bic, rtol=1e-8)


def test_two_components_by_hand(x64):
    """Points -1, 1 and 9, 11 with hard memberships: means 0 and 10, variances 1, weights one half."""
    z = jnp.array([[-1.0], [1.0], [9.0], [11.0]])
    hard = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    got = m_step(z, hard, "diag", 0.0)
    np.testing.assert_allclose(got.means, [[0.0], [10.0]], atol=1e-11)
    np.testing.assert_allclose(got.covariances, [[1.0], [1.0]], atol=1e-11)
    np.testing.assert_allclose(jnp.exp(got.log_weights), [0.5, 0.5], rtol=1e-11)
    # log N(+-1; 0, 1) + log 1/2; the other component adds about e^-40.
    want = -0.5 * (np.log(2 * np.pi) + 1) + np.log(0.5)
    np.testing.assert_allclose(em.em_step(z, got, None, None, "diag", 0.0)[1], want, rtol=1e-10)


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
@pytest.mark.parametrize("seed", range(5))
def test_every_step_raises_the_likelihood(x64, covariance_type, seed):
    z = jnp.asarray(blobs(seed=seed, spread=2.0)[0])
    hard = jax.nn.one_hot(jax.random.randint(jax.random.key(seed), z.shape[:1], 0, 5), 5, dtype=z.dtype)
    components = m_step(z, hard, covariance_type, 0.0)
    bounds = []
    for _ in range(60):
        components, bound = em.em_step(z, components, None, None, covariance_type, 0.0)
        bounds.append(float(bound))
    assert np.all(np.diff(bounds) > -1e-12)
    assert bounds[-1] > bounds[0] + 1e-3


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_reaches_the_optimum_of_scikit_learn_from_the_same_start(x64, covariance_type):
    z, _ = blobs(n_clusters=3, spread=0.8)
    rng = np.random.default_rng(0)
    start = rng.dirichlet(np.ones(3), len(z))
    components = m_step(jnp.asarray(z), jnp.asarray(start), covariance_type, 1e-6)
    got = em.fit(
        jnp.asarray(z), components, 3, 2, covariance_type=covariance_type, max_iter=10_000, tol=1e-11
    )
    covariances = np.asarray(components.covariances)
    oracle = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=np.exp(components.log_weights) / np.sum(np.exp(components.log_weights)),
        means_init=np.asarray(components.means),
        precisions_init=1 / covariances if covariance_type == "diag" else np.linalg.inv(covariances),
        max_iter=10_000,
        tol=1e-11,
        reg_covar=1e-6,
    ).fit(z)
    np.testing.assert_allclose(got.components.means, oracle.means_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got.components.covariances, oracle.covariances_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.bic, oracle.bic(z), rtol=1e-8)


def test_a_range_is_its_parts_and_finds_the_planted_number():
    z = jnp.asarray(blobs(n_rows=2000)[0], jnp.float32)
    whole = gmm.fit(jax.random.key(0), z, list(range(1, 9)))
    assert whole.n_clusters[np.argmin(whole.bic)] == 4
    for k in (2, 4, 7):
        # Padded to 8 in the range, unpadded alone: same draws, same mixture.
        alone = gmm.fit(jax.random.key(0), z, [k])
        np.testing.assert_allclose(alone.bic[0], whole.bic[k - 1], rtol=1e-4)
        np.testing.assert_allclose(
            alone.components.means[0], whole.components.means[k - 1, :k], rtol=1e-3, atol=1e-3
        )
    mapped, batched = (gmm.fit(jax.random.key(0), z, [3, 4], layout=name) for name in ("map", "vmap"))
    np.testing.assert_allclose(mapped.bic, batched.bic, rtol=1e-5)


def test_is_as_good_as_scikit_learn():
    z = jnp.asarray(blobs(n_clusters=6, spread=1.0, seed=3)[0], jnp.float32)
    got = gmm.fit(jax.random.key(0), z, [6], settings=EmSettings(n_init=5, tol=1e-5))
    want = GaussianMixture(6, covariance_type="diag", n_init=5, tol=1e-5, max_iter=200, random_state=0).fit(z)
    assert got.lower_bound[0] > want.lower_bound_ - 0.01


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_collapsed_rows_stay_finite_with_regularisation_only(covariance_type):
    z = jnp.zeros((50, 2)).at[:10].set(1.0)
    mended = gmm.fit(jax.random.key(0), z, [3], covariance_type=covariance_type)
    assert mended.finite[0]
    [message] = gmm.warnings(mended)
    assert message.startswith("mixture of 3 clusters: 3 of them hold no rows or rows that coincide")
    assert "ask for fewer clusters" in message
    broken = gmm.fit(jax.random.key(0), z, [3], None, EXACT, covariance_type=covariance_type)
    if covariance_type == "full":  # a diagonal one has a floor, and stays with a cluster of no width
        assert not broken.finite[0]
        assert "EM broke down" in gmm.warnings(broken, 0.0)[0]
    else:
        assert "coincide" in gmm.warnings(broken, 0.0)[0]
    sound = gmm.fit(
        jax.random.key(0), jnp.asarray(blobs()[0], jnp.float32), [4], covariance_type=covariance_type
    )
    assert gmm.warnings(sound) == []


def test_a_thin_ridge_keeps_its_definiteness_in_single_precision(monkeypatch):
    """Far from the origin of its sums, and of fewer rows than latents: rounding makes it indefinite."""
    rng = np.random.default_rng(0)
    z = np.concatenate([np.outer(rng.normal(size=300), np.full(6, 20.0)), 20 * rng.normal(size=(4, 6))])
    z = jnp.asarray(z, jnp.float32)
    gamma = jnp.asarray(np.arange(2)[:, None] == np.repeat([0, 1], [300, 4]), jnp.float32)
    origin = jnp.asarray(20 * rng.normal(size=(2, 6)), jnp.float32)

    def factors():
        sums = em.moments(z.T - origin[:, :, None], gamma, "full")
        step = em.m_step(em.Moments(*sums, origin=origin), len(z), None, "full", 1e-6)
        return np.isfinite(np.asarray(em.as_mixture(step).shears)).all(axis=(1, 2))

    assert factors().all()
    monkeypatch.setattr(em, "ROUNDINGS", 0)
    assert not factors().all()


def test_padding_does_not_widen_full_covariances():
    """In single precision, where there is something to widen by."""
    z = jnp.asarray(blobs()[0], jnp.float32)
    gamma = np.random.default_rng(0).dirichlet(np.ones(3), len(z)).T

    def step(n_more):
        rows, origin = jnp.pad(z, ((0, 0), (0, n_more))), jnp.zeros((3, 2 + n_more), jnp.float32)
        sums = em.moments(rows.T - origin[:, :, None], jnp.asarray(gamma, jnp.float32), "full")
        return em.m_step(em.Moments(*sums, origin=origin), len(z), 2, "full", 1e-6)

    # Sums in another order are off by a few roundings; widened for 32 latents they would be by 1.5e-5.
    np.testing.assert_allclose(step(30).covariances[:, :2, :2], step(0).covariances, rtol=2e-6)


def test_em_that_was_still_gaining_says_so():
    rows, settings = jnp.asarray(blobs(spread=3.0)[0], jnp.float32), EmSettings(max_iter=2)
    hurried = gmm.fit(jax.random.key(0), rows, [6], settings=settings)
    assert "still gaining after 2 iterations" in gmm.warnings(hurried)[0]


def test_a_covariance_that_is_none_ends_em_without_a_fit():
    z = jnp.asarray(blobs()[0], jnp.float32)
    indefinite = jnp.array([[[1.0, 2.0], [2.0, 1.0]]] * 2)
    start = Components(jnp.log(jnp.array([0.5, 0.5])), z[:2], indefinite)
    got = em.fit(z, start, 2, 2, covariance_type="full")
    assert not got.finite
    assert not got.converged


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
@pytest.mark.parametrize("at_once", [7, 599])
def test_the_size_of_a_block_changes_no_step(x64, monkeypatch, covariance_type, at_once):
    """600 rows: the last block reaches back over rows that have been counted."""
    z = jnp.asarray(blobs()[0])
    components = m_step(z, np.random.default_rng(0).dirichlet(np.ones(3), len(z)), covariance_type, 1e-6)
    want = em.em_step(z, components, 3, 2, covariance_type, 1e-6)
    mixture = em.as_mixture(components)
    scores = em.criteria(z, mixture, 3, 2)
    monkeypatch.setattr(em, "rows_at_once", lambda: at_once)
    for a, b in zip(
        jax.tree.leaves(
            (em.em_step(z, components, 3, 2, covariance_type, 1e-6), em.criteria(z, mixture, 3, 2))
        ),
        jax.tree.leaves((want, scores)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_em_needs_no_more_memory_for_more_rows(covariance_type):
    """Beside the rows themselves: of 30 clusters, the responsibilities of all would take 30 numbers a row."""
    shape = (30, 5) if covariance_type == "diag" else (30, 5, 5)
    sizes = Components(*(jax.ShapeDtypeStruct(one, jnp.float32) for one in ((30,), (30, 5), shape)))
    run = jax.jit(partial(em.fit, n_clusters=30, latent_dim=5, covariance_type=covariance_type))
    needs = [
        run.lower(jax.ShapeDtypeStruct((n_rows, 5), jnp.float32), sizes).compile().memory_analysis()
        for n_rows in (100_000, 3_650_000)
    ]
    few, many = (one.temp_size_in_bytes for one in needs)
    assert many <= 1.1 * few
    assert many < 30 * 3_650_000 * 4 / 10


def test_impossible_ranges_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match=r"between 1 and the number of rows \(3\), got \[2, 4\]"):
        gmm.fit(jax.random.key(0), jnp.zeros((3, 2)), [2, 4])


def test_empty_cluster_gets_no_weight():
    z = jnp.array([[0.0], [1.0]])
    got = m_step(z, jnp.array([[1.0, 0.0], [1.0, 0.0]]), "diag", 1e-6)
    assert np.isfinite(np.asarray(got.means)).all()
    assert float(jax.nn.softmax(got.log_weights)[1]) == 0.0


def test_plus_plus_covers_separated_points():
    z = jnp.repeat(jnp.arange(6.0)[:, None] * 100, 20, axis=0)
    for seed in range(10):
        centers = np.asarray(gmm.draw_centers(jax.random.key(seed), z, 6, 6, True))
        assert sorted(centers[:, 0].tolist()) == [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("n_rows", [5, 300])
def test_centers_are_drawn_by_their_distances(apart, n_rows):
    """The first and the second of many draws, against the chances of either worked out row by row."""
    rng = np.random.default_rng(0)
    z, n_draws = rng.normal(size=(n_rows, 3)).astype(np.float32), 20_000
    draw = jax.jit(jax.vmap(lambda key: gmm.draw_centers(key, jnp.asarray(z), 2, 2, apart)))
    centers = np.asarray(draw(jax.random.split(jax.random.key(1), n_draws)))
    rows = (centers[:, :, None, :] == z).all(axis=3).argmax(axis=2)
    np.testing.assert_array_equal(z[rows], centers)  # each is a row, none of what fills up the table
    first, second = (np.bincount(column, minlength=n_rows) for column in rows.T)
    squares = ((z[:, None] - z.astype(float)) ** 2).sum(axis=2)
    by_distance = (squares / squares.sum(axis=1, keepdims=True)).mean(axis=0)
    alike = np.full(n_rows, 1 / n_rows)
    for counts, chance in ((first, alike), (second, by_distance if apart else alike)):
        assert stats.chisquare(counts, n_draws * chance).pvalue > 1e-4


def test_plus_plus_with_fewer_distinct_rows_than_clusters():
    centers = gmm.draw_centers(jax.random.key(0), jnp.ones((10, 2)), 3, 5, True)
    np.testing.assert_array_equal(centers, [[1.0, 1.0]] * 3 + [[0.0, 0.0]] * 2)


def test_first_best_is_the_first_within_tolerance():
    assert gmm.first_best(jnp.array([-3.0, -1.00001, -1.0, jnp.nan]), 1e-4) == 1
    assert gmm.first_best(jnp.array([-3.0, -1.1, -1.0, jnp.nan]), 1e-4) == 2


@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_a_range_without_regularisation_is_its_parts(x64, covariance_type):
    """Padded clusters have no rows and no regularisation: they must not break those in use."""
    z = jnp.asarray(np.random.default_rng(0).normal(size=(500, 2)))
    settings = EmSettings(reg_covar=0.0, n_init=3)
    options = {"settings": settings, "covariance_type": covariance_type}
    whole = gmm.fit(jax.random.key(0), z, [1, 2, 3], **options)
    assert whole.finite.all()
    for k in (1, 2, 3):
        alone = gmm.fit(jax.random.key(0), z, [k], **options)
        np.testing.assert_allclose(whole.bic[k - 1], alone.bic[0], rtol=1e-9)


def test_finds_a_thin_cluster_that_kmeans_misses():
    """A line of visits across a broad cloud, as real latents have: K-means cuts the cloud in two instead."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(4000, 2)), rng.normal(size=(2000, 2)) * [1.0, 0.01] + [0.0, 0.5]])
    got = gmm.fit(jax.random.key(0), jnp.asarray(z, jnp.float32), [2])
    assert float(jnp.min(got.components.covariances[0, :, 1])) < 1e-3
    from_kmeans = GaussianMixture(2, covariance_type="diag", n_init=5, random_state=0).fit(z)
    assert got.lower_bound[0] > from_kmeans.lower_bound_ - 1e-3


def test_a_likelihood_that_falls_with_the_number_of_clusters_is_said():
    z = jnp.asarray(blobs()[0], jnp.float32)
    fits = gmm.fit(jax.random.key(0), z, [2, 3])
    fallen = fits._replace(lower_bound=jnp.array([-1.0, -1.5]))
    assert "mixture of 3 clusters: a lower likelihood than with 2" in gmm.warnings(fallen)[-1]


def test_components_are_padded_with_nothing():
    got = gmm.fit(jax.random.key(0), jnp.asarray(blobs()[0], jnp.float32), [3], max_clusters=6)
    assert isinstance(got.components, Components)
    gamma = jax.nn.softmax(
        em.log_joint(jnp.ones((1, 2)), jax.tree.map(lambda a: a[0], got.components), 3), -1
    )
    assert np.all(np.asarray(gamma)[:, 3:] == 0)


@pytest.mark.parametrize("latent_dim", [4, 30])
def test_expanded_squares_agree_with_direct_ones_in_single_precision(latent_dim):
    """From `EXPANDED_LATENTS` on EM multiplies matrices: clusters 50 times thinner than their spread."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.normal(size=(5, latent_dim))
    z = centers[rng.integers(0, 5, 4000)] + 0.06 * rng.normal(size=(4000, latent_dim))
    weights, sds = np.log(np.full(5, 0.2)), np.full((5, latent_dim), 0.06**2)
    near = em.Components(*(jnp.asarray(a, jnp.float32) for a in (weights, centers + 0.01, sds)))
    assert latent_dim >= em.EXPANDED_LATENTS
    step, density = em.em_step(jnp.asarray(z, jnp.float32), near, 5, latent_dim, "diag", 1e-6)
    joint = np.asarray(em.log_joint(jnp.asarray(z, jnp.float32), near, 5, latent_dim), float)
    gamma = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    assert float(density) == pytest.approx(np.logaddexp.reduce(joint, axis=1).mean(), abs=5e-3)
    means = gamma.T @ z / gamma.sum(axis=0)[:, None]
    variances = np.einsum("nk,nkl->kl", gamma, (z[:, None] - means) ** 2) / gamma.sum(axis=0)[:, None]
    np.testing.assert_allclose(step.means, means, atol=1e-4)
    np.testing.assert_allclose(step.covariances, variances, rtol=0.01)
