"""What steers the fine-tuning: by integrals and loops, and nothing where it is off or has no reason."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

from jvade.core import draws, epoch, lanes, likelihoods, model, shuffle
from jvade.core import mixture as mixtures
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.objective import below_floor, elbo_terms, penalties
from jvade.core.settings import Architecture, Block, Hyperparameters, Training

K, L, N = 4, 2, 40
HYPER = Hyperparameters(
    learning_rate=1e-2, noise_variance=0.4, latent_dim=L, n_clusters=K, occupancy_floor=0.5, repulsion=3.0
)
ARCHITECTURE = Architecture(5, latent_dim=L, n_clusters=K, widths=(7,))


def draw_mixture(seed=0, n_clusters=K, latent_dim=L):
    rng = np.random.default_rng(seed)
    shapes = (n_clusters,), (n_clusters, latent_dim), (n_clusters, latent_dim)
    return Mixture(*(jnp.asarray(rng.normal(size=shape)) for shape in shapes))


def draw_gamma(seed=0, shares=(0.9, 0.06, 0.03, 0.01), n_rows=N):
    """Log-responsibilities with means near some shares, and weights of rows of which the last are padding."""
    rng = np.random.default_rng(seed)
    gamma = rng.dirichlet(5 * np.array(shares), n_rows)
    weights = np.where(np.arange(n_rows) < n_rows - 5, 1 / (n_rows - 5), 0.0)
    return jnp.asarray(np.log(np.maximum(gamma, 1e-12))), jnp.asarray(weights)


def repulsion(mixture, hyper):
    (found,) = penalties(jnp.zeros((1, 1)), jnp.ones(1), mixture, hyper._replace(occupancy_floor=None))
    return found


def test_overlaps_are_the_integrals(x64):
    """Of sqrt(p q): latent by latent by adaptive quadrature, as both are diagonal."""
    mixture = draw_mixture()
    means, sds = np.asarray(mixture.means), np.exp(0.5 * np.asarray(mixture.log_variances))
    got = mixtures.overlaps(mixture)
    np.testing.assert_allclose(np.diagonal(got), 1.0, rtol=1e-12)
    for c, d in itertools.combinations(range(K), 2):
        want = 1.0
        for i in range(L):
            one, other = (stats.norm(means[k, i], sds[k, i]) for k in (c, d))
            want *= integrate.quad(lambda z, p=one, q=other: np.sqrt(p.pdf(z) * q.pdf(z)), -30, 30)[0]
        np.testing.assert_allclose([got[c, d], got[d, c]], want, rtol=1e-7)
    assert 0.05 < float(got[0, 1]) < 0.95  # or no formula could be told from another


def test_overlaps_of_full_covariances_are_the_integrals(x64):
    """Of sqrt(p q) over a grid; a padded latent says nothing, and A = I is the diagonal one."""
    mixture, rng = draw_mixture(latent_dim=3), np.random.default_rng(5)
    mixture = mixture._replace(shears=jnp.asarray(rng.normal(size=(K, 3, 3))))
    got = mixtures.overlaps(mixture, 2)
    axis = np.linspace(-25, 25, 1001)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    factors = np.asarray(mixtures.factors(mixture))[:, :2, :2]
    sigmas = factors @ np.swapaxes(factors, 1, 2)
    each = [
        stats.multivariate_normal(mean[:2], sigma).pdf(grid)
        for mean, sigma in zip(np.asarray(mixture.means), sigmas, strict=True)
    ]
    for c, d in itertools.product(range(K), repeat=2):
        want = np.sqrt(each[c] * each[d]).sum() * (axis[1] - axis[0]) ** 2
        np.testing.assert_allclose(got[c, d], want, rtol=1e-6)
    assert np.abs(sigmas[:, 0, 1]).min() > 0.05  # or A counts for nothing
    alike = mixture._replace(shears=jnp.zeros((K, 3, 3)))
    diagonal = mixtures.overlaps(mixture._replace(shears=None), 2)
    np.testing.assert_allclose(mixtures.overlaps(alike, 2), diagonal, rtol=1e-10)


def test_repulsion_of_thin_components_is_finite_in_single_precision():
    """Tilted and thin beyond what their covariances could say when rounded."""
    means, thin = jnp.array([[0.0, 0.0], [0.5, 0.5]]), jnp.array([[0.0, -17.0], [0.0, -17.0]])
    shears = jnp.array([[[1.0, 0.0], [-1.0, 1.0]], [[1.0, 0.0], [-1.1, 1.0]]])
    mixture = Mixture(jnp.zeros(2), means, thin, shears)
    assert mixture.means.dtype == jnp.float32
    value, slope = jax.value_and_grad(lambda m: repulsion(m, HYPER._replace(n_clusters=2)))(mixture)
    assert all(np.isfinite(leaf).all() for leaf in [value, *jax.tree.leaves(slope)])
    np.testing.assert_allclose(np.diagonal(mixtures.overlaps(mixture)), 1.0, rtol=1e-4)


def test_repulsion_is_the_mean_over_pairs(x64):
    mixture = draw_mixture()
    each = mixtures.overlaps(mixture)
    want = 3.0 * np.mean([each[c, d] for c, d in itertools.combinations(range(K), 2)])
    np.testing.assert_allclose(repulsion(mixture, HYPER), want, rtol=1e-12)
    same = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), mixture)
    np.testing.assert_allclose(repulsion(same, HYPER), 3.0, rtol=1e-12)
    assert float(repulsion(mixture, HYPER._replace(n_clusters=1))) == 0.0


def test_repulsion_pushes_apart(x64):
    """Down the slope the means of two components part."""
    means = jnp.array([[0.0, 0.0], [1.0, 0.5]])
    mixture = Mixture(jnp.zeros(2), means, jnp.zeros((2, 2)))
    slope = jax.grad(lambda m: repulsion(m, HYPER._replace(n_clusters=2)))(mixture)
    np.testing.assert_array_equal(slope.logits, 0.0)
    away = means[1] - means[0]
    assert float(-slope.means[1] @ away) > 0.1
    np.testing.assert_allclose(slope.means[0], -slope.means[1], rtol=1e-12)


@pytest.mark.parametrize("covariance_type", ["diag", pytest.param("full", marks=pytest.mark.long)])
def test_padding_has_no_part_in_repulsion(x64, covariance_type):
    """Clusters and latents beyond those in use, whatever stands there."""
    mixture, wide = draw_mixture(), draw_mixture(1, n_clusters=6, latent_dim=5)
    if covariance_type == "full":
        mixture, wide = (
            one._replace(shears=jnp.asarray(np.random.default_rng(5).normal(size=(k, d, d))))
            for one, k, d in ((mixture, K, L), (wide, 6, 5))
        )
    padded = jax.tree.map(
        lambda small, big: big.at[tuple(slice(n) for n in small.shape)].set(small), mixture, wide
    )
    slope = jax.grad(lambda m: repulsion(m, HYPER))
    np.testing.assert_allclose(repulsion(padded, HYPER), repulsion(mixture, HYPER), rtol=1e-12)
    for got, want in zip(*map(jax.tree.leaves, (slope(padded), slope(mixture))), strict=True):
        inner = tuple(slice(n) for n in want.shape)
        np.testing.assert_allclose(got[inner], want, rtol=1e-10, atol=1e-15)
        np.testing.assert_array_equal(got.at[inner].set(0.0), 0.0)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_the_cost_of_few_rows_is_that_by_hand(x64, fraction):
    log_gamma, weights = draw_gamma()
    shares = np.exp(np.asarray(log_gamma))[:-5].mean(axis=0)
    floor = fraction / K
    assert (shares < floor).any()
    assert (shares > floor).any()
    want = sum(floor * np.log(floor / share) for share in shares if share < floor)
    got = below_floor(log_gamma, weights, HYPER._replace(occupancy_floor=fraction))
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_above_the_floor_there_is_neither_cost_nor_slope(x64):
    log_gamma, weights = draw_gamma(shares=(0.25,) * 4)
    for fraction in (0.0, 0.5):
        cost, slope = jax.value_and_grad(below_floor)(
            log_gamma, weights, HYPER._replace(occupancy_floor=fraction)
        )
        assert float(cost) == 0.0
        np.testing.assert_array_equal(slope, 0.0)
    assert float(below_floor(log_gamma, weights, HYPER._replace(occupancy_floor=0.999))) > 0


@pytest.mark.parametrize("depth", [3.0, 30.0, 300.0])
def test_the_slope_of_a_dead_cluster_is_that_of_one_just_below(depth):
    """In single precision, where its responsibilities are 0: the floor in all, shared out by part in it."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(N, K)), jnp.float32).at[:, 0].add(-depth)
    log_gamma = jax.nn.log_softmax(logits, axis=1)
    slope = jax.grad(below_floor)(log_gamma, jnp.full(N, 1 / N), HYPER)
    parts = np.exp(np.asarray(log_gamma[:, 0], float) - np.max(log_gamma[:, 0]))
    np.testing.assert_allclose(slope[:, 0], -0.5 / K * parts / parts.sum(), rtol=1e-4)
    np.testing.assert_array_equal(slope[:, 1:], 0.0)


def test_padding_has_no_part_in_the_floor(x64):
    """Rows of weight 0 and clusters beyond those in use."""
    log_gamma, weights = draw_gamma()
    cost, slope = jax.value_and_grad(below_floor)(log_gamma[:-5], weights[:-5], HYPER)
    clusters = jnp.full((N, 2), mixtures.NEVER)
    got, wide = jax.value_and_grad(below_floor)(jnp.hstack([log_gamma, clusters]), weights, HYPER)
    np.testing.assert_allclose(got, cost, rtol=1e-12)
    np.testing.assert_allclose(wide[:-5, :K], slope, rtol=1e-12)
    np.testing.assert_array_equal(wide[-5:], 0.0)
    np.testing.assert_array_equal(wide[:, K:], 0.0)
    assert np.any(np.asarray(slope) < 0)


def rows(n=100):
    return jnp.asarray(np.random.default_rng(0).normal(size=(n, 5)))


def test_a_step_of_the_fine_tuning_has_both_and_tells_neither(x64):
    """The first moment of Adam is a tenth of the gradient of bound and penalties, written out."""
    hyper = HYPER._replace(clip_norm=1e9, weight_decay=0.0, kl_weight=0.5)
    training = Training(batch_size=100, max_epochs=1)
    x, lane = rows(), take_lane(lanes.stack([3], hyper), 0)
    lane = jax.tree.map(lambda v: v.astype(float) if v.dtype == jnp.float32 else v, lane)
    params = epoch.init(lane, ARCHITECTURE)._replace(mixture=draw_mixture())
    state = epoch.start(params, lane, "fine-tuning", training)
    after = jax.jit(epoch.run_block, static_argnums=(4, 5))(
        state, x, lane, jnp.array(1), ARCHITECTURE, training
    )
    key = jax.random.fold_in(epoch.named_key(epoch.named_key(lane.key, "fine-tuning"), "train"), 0)
    order = shuffle.permute(epoch.named_key(key, "order"), jnp.arange(80), 80)
    batch = x[epoch.split_row(lane, order, 100)]
    noise = draws.noise(jax.random.fold_in(epoch.named_key(key, "noise"), 0), L, 80).T

    def whole(params, steered):
        bound = jnp.mean(elbo_terms(params, batch, noise, ARCHITECTURE, hyper).elbo(0.5))
        q = model.encode(params, batch, ARCHITECTURE, L)
        z = q.means + jnp.exp(0.5 * q.log_variances) * noise
        shares = jnp.mean(mixtures.responsibilities(z, params.mixture), axis=0)
        floor = 0.5 / K
        cost = jnp.sum(jnp.where(shares < floor, floor * jnp.log(floor / shares), 0.0))
        each = mixtures.overlaps(params.mixture)
        cost += 3.0 * (jnp.sum(each) - K) / (K * (K - 1))
        return steered * cost - bound

    moments = optax.tree_utils.tree_get(after.opt_state, "mu")
    slope = jax.jit(jax.grad(whole))
    for got, want in zip(jax.tree.leaves(moments), jax.tree.leaves(slope(params, 1.0)), strict=True):
        np.testing.assert_allclose(got, 0.1 * want, rtol=1e-5, atol=1e-9)
    steered = np.asarray(slope(params, 1.0).mixture.means - slope(params, 0.0).mixture.means)
    assert np.abs(steered).max() > 1e-2
    told = jax.tree.map(lambda term: term[0], after.history.train)
    np.testing.assert_allclose(-told.elbo(0.5), whole(params, 0.0), rtol=1e-8)
    held_out = jax.tree.map(lambda term: term[0], after.history.validation)
    np.testing.assert_allclose(after.best_loss, -held_out.elbo(0.5), rtol=1e-9)


KINDS = replace(ARCHITECTURE, blocks=(Block("gaussian", 2), Block("bernoulli", 1), Block("categorical", 2)))


def rows_of_kinds(n=100):
    rng = np.random.default_rng(0)
    code = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    flag = rng.random(n) < 0.2
    return jnp.asarray(np.column_stack([rng.normal(size=(n, 2)), flag, code == 1, code == 2]).astype(float))


def test_a_step_of_a_balanced_lane_is_along_the_weighted_bound(x64):
    hyper = HYPER._replace(clip_norm=1e9, weight_decay=0.0, occupancy_floor=0.0, repulsion=0.0, balance=0.7)
    training = Training(batch_size=100, max_epochs=1)
    x, lane = rows_of_kinds(), take_lane(lanes.stack([3], hyper), 0)
    lane = jax.tree.map(lambda v: v.astype(float) if v.dtype == jnp.float32 else v, lane)
    params = epoch.init(lane, KINDS)._replace(mixture=draw_mixture())
    state = epoch.start(params, lane, "fine-tuning", training)
    after = jax.jit(epoch.run_block, static_argnums=(4, 5))(state, x, lane, jnp.array(1), KINDS, training)
    key = jax.random.fold_in(epoch.named_key(epoch.named_key(lane.key, "fine-tuning"), "train"), 0)
    order = shuffle.permute(epoch.named_key(key, "order"), jnp.arange(80), 80)
    batch = x[epoch.split_row(lane, order, 100)]
    noise = draws.noise(jax.random.fold_in(epoch.named_key(key, "noise"), 0), L, 80).T

    def loss(params, weights):
        return -jnp.mean(elbo_terms(params, batch, noise, KINDS, hyper, None, weights).elbo())

    weights = likelihoods.balanced(x, KINDS.blocks, 0.4, 0.7)
    moments = optax.tree_utils.tree_get(after.opt_state, "mu")
    slope, plain = (jax.jit(jax.grad(loss))(params, w) for w in (weights, jnp.ones(5)))
    for got, want in zip(jax.tree.leaves(moments), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(got, 0.1 * want, rtol=1e-5, atol=1e-9)
    apart = jax.tree.map(lambda one, other: np.abs(one - other).max() / np.abs(one).max(), slope, plain)
    assert max(jax.tree.leaves(apart)) > 0.1
    told = jax.tree.map(lambda term: term[0], after.history.train)
    np.testing.assert_allclose(-told.elbo(), loss(params, weights), rtol=1e-8)


@pytest.mark.parametrize("layout", [pytest.param("map", marks=pytest.mark.long), "vmap"])
def test_the_bound_as_it_is_can_be_asked_for(x64, layout):
    """Of a lane without balance it is that of the history; of another, what its best parameters give."""
    each = [HYPER._replace(occupancy_floor=0.0, repulsion=0.0, balance=b) for b in (0.0, 0.7)]
    training = Training(batch_size=32, max_epochs=2, input_dropout=0.5, layout=layout)
    x, stack = rows_of_kinds(), lanes.stack([3, 4], each)
    params = jax.tree.map(lambda leaf: leaf.astype(float), lanes.init(stack, KINDS))
    params = params._replace(mixture=jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), draw_mixture()))
    found = lanes.train(x, params, stack, "fine-tuning", KINDS, training)
    told = jax.tree.map(lambda term: term[jnp.arange(2), found.best_epoch], found.history.validation)
    as_it_is = lanes.validate(x, found.params, stack, "fine-tuning", KINDS, training)
    np.testing.assert_allclose(as_it_is.elbo()[0], told.elbo()[0], rtol=1e-6)
    np.testing.assert_allclose(as_it_is.gaussian_kl, told.gaussian_kl, rtol=1e-6)
    # The balanced one, whose hidden inputs are those of the validation: without them, by hand.
    whole = replace(training, input_dropout=0.0)
    asked = lanes.validate(x, found.params, stack, "fine-tuning", KINDS, whole).reconstruction[1]
    lane = take_lane(stack, 1)
    aside = x[epoch.split_row(lane, jnp.arange(80, 100), 100)]
    key = epoch.named_key(epoch.named_key(lane.key, "fine-tuning"), "validation")
    noise = draws.noise(jax.random.fold_in(key, 0), L, 20).T
    plain = elbo_terms(take_lane(found.params, 1), aside, noise, KINDS, each[1]).reconstruction.mean()
    np.testing.assert_allclose(asked, plain, rtol=1e-6)
    assert abs(float(as_it_is.reconstruction[1] - told.reconstruction[1])) > 0.01


def trained(each, seeds):
    training = Training(batch_size=32, max_epochs=3, layout="vmap")
    stack = lanes.stack(seeds, each)
    wide = Architecture(5, latent_dim=3, n_clusters=6, widths=(7,))
    params = jax.tree.map(lambda leaf: leaf.astype(float), lanes.init(stack, wide))
    mixture = jax.tree.map(
        lambda leaf: jnp.stack([leaf] * len(each)), draw_mixture(2, n_clusters=6, latent_dim=3)
    )
    return lanes.train(rows(), params._replace(mixture=mixture), stack, "fine-tuning", wide, training).params


def test_a_lane_alone_is_the_lane_in_a_stack(x64):
    """One without penalties, which has a program without them alone, and one of other sizes with both."""
    each = [
        HYPER._replace(occupancy_floor=0.0, repulsion=0.0),
        HYPER._replace(latent_dim=3, n_clusters=6, occupancy_floor=0.9, balance=0.5),
    ]
    together = trained(each, [0, 1])
    for seed, one in enumerate(each):
        ours = take_lane(together, slice(seed, seed + 1))
        for got, want in zip(jax.tree.leaves(ours), jax.tree.leaves(trained([one], [seed])), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(
    ("each", "found"),
    [
        ([{}, {}], [None, None]),
        ([{}, {"occupancy_floor": 0.5}], [[0, 0.5], None]),
        ([{"repulsion": 2.0}, {"occupancy_floor": 0.5}], [[0, 0.5], [2, 0]]),
        ([{"repulsion": float("nan")}], [None, [np.nan]]),
        ([{"balance": 0.5}, {}], [None, None, [0.5, 0]]),
    ],
)
def test_what_is_off_in_all_lanes_is_in_no_program(monkeypatch, each, found):
    class Seen(Exception):  # noqa: N818
        pass

    def block(states, x, lanes, until, **static):
        raise Seen(lanes.hyperparameters)

    monkeypatch.setattr(lanes, "_block", block)
    off = HYPER._replace(occupancy_floor=0.0, repulsion=0.0)
    with pytest.raises(Seen) as seen:
        trained([off._replace(**one) for one in each], [*range(len(each))])
    (hyper,) = seen.value.args
    found = [*found, *[None] * (3 - len(found))]
    for got, want in zip((hyper.occupancy_floor, hyper.repulsion, hyper.balance), found, strict=True):
        assert (got is None) == (want is None)
        assert want is None or np.array_equal(got, want, equal_nan=True)
    one = take_lane(hyper, 0)
    n_on = sum(want is not None for want in found[:2])
    assert len(penalties(*draw_gamma(), draw_mixture(), one)) == n_on
    assert penalties(*draw_gamma(), None, one) == []  # nor in the pretraining
