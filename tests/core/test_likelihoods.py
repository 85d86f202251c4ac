"""Likelihoods by kind against brute force: outcomes counted, scipy's densities, optima in closed form."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jvade.core import lanes, likelihoods, model
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.objective import elbo_terms
from jvade.core.settings import Architecture, Block, Hyperparameters, Training, joined

N = 6
#: A number, two 0/1 columns, a variable of four categories, two numbers.
BLOCKS = (Block("gaussian", 1), Block("bernoulli", 2), Block("categorical", 3), Block("gaussian", 2))
NOISES = np.array([0.2, 0.5, 2.0])


def rows_and_outputs(seed=0):
    rng = np.random.default_rng(seed)
    category = rng.integers(0, 4, N)
    parts = [
        rng.normal(size=(N, 1)),
        rng.integers(0, 2, (N, 2)),
        category[:, None] == np.arange(3),  # the fourth has no column
        rng.normal(size=(N, 2)),
    ]
    return np.hstack(parts).astype(float), rng.normal(size=(N, 8)) * 2


def by_hand(x, outputs, noises):
    """One row, one column at a time, in probabilities."""
    found = []
    for row, out in zip(x, outputs, strict=True):
        numbers = [0, 6, 7]
        total = sum(
            stats.norm.logpdf(row[d], out[d], np.sqrt(v)) for d, v in zip(numbers, noises, strict=True)
        )
        for d in (1, 2):
            p = 1 / (1 + np.exp(-out[d]))
            total += np.log(p if row[d] else 1 - p)
        weights = np.exp(np.append(out[3:6], 0.0))
        chosen = int(np.argmax(row[3:6])) if row[3:6].any() else 3
        total += np.log(weights[chosen] / weights.sum())
        found.append(total)
    return np.array(found)


def test_codes_of_one_variable_are_joined():
    one = [Block("gaussian", 1), *[Block("bernoulli", 1)] * 6, Block("categorical", 2), Block("gaussian", 1)]
    of = ["", "", "level", "level", "place", "", "", "", ""]
    expected = [("gaussian", 1), ("bernoulli", 1), ("categorical", 2), ("categorical", 1), ("bernoulli", 2)]
    assert joined(one, of) == (*(Block(*each) for each in expected), *one[-2:])
    # A column that tells nothing counts as a number, and is a code all the same.
    assert joined([Block("bernoulli", 1), Block("gaussian", 1)], ["a", "a"]) == (Block("categorical", 2),)
    assert joined(one[:2] * 2) == (*one[:2] * 2,)


@pytest.mark.parametrize("codes", [(1, 1, 0), (1, 1, 1), (1, 0.3, 0)])
def test_a_row_that_has_several_codes_is_no_likelier_than_any_of_them(codes):
    """It cannot be, and may come: among new rows, and where what is missing counts as its mean."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * rng.normal(size=(50, 3)) + 5)
    one = likelihoods.categorical(jnp.tile(jnp.asarray(codes, float), (50, 1)), logits)
    each = np.stack([likelihoods.categorical(jnp.eye(3)[np.full(50, k)], logits) for k in range(3)])
    np.testing.assert_allclose(one, np.asarray(codes) @ each, rtol=1e-4)
    assert (np.asarray(one) <= each[0] + 1e-6).all()  # the first is one of them, always
    assert (each <= 0).all()


@pytest.mark.parametrize("noises", [np.array([0.3] * 3), NOISES])
def test_every_kind_equals_its_density(x64, noises):
    x, outputs = rows_and_outputs()
    given = noises[0] if len(set(noises)) == 1 else jnp.asarray(noises)
    got = likelihoods.log_likelihood(jnp.asarray(x), jnp.asarray(outputs), BLOCKS, given)
    np.testing.assert_allclose(got, by_hand(x, outputs, noises), rtol=1e-12)


@pytest.mark.parametrize("noises", [np.array([0.3] * 3), NOISES])
def test_weights_are_those_of_the_variables(x64, noises):
    x, outputs = rows_and_outputs()
    given = noises[0] if len(set(noises)) == 1 else jnp.asarray(noises)
    weights = np.array([0.5, 2.0, 1.5, 0.7, 0.7, 0.7, 1.2, 3.0])
    each, begin = np.zeros(N), 0
    for width in (1, 1, 1, 3, 1, 1):  # what one variable adds: all by hand, less all but its columns the same
        apart, columns = outputs.copy(), slice(begin, begin + width)
        apart[:, columns] = 0.0
        alone = by_hand(x, outputs, noises) - by_hand(x, apart, noises)
        base = {1: np.log(0.5), 3: np.log(0.25)}[width]
        if begin in (0, 6, 7):
            base = stats.norm.logpdf(x[:, begin], 0, np.sqrt(noises[(0, 6, 7).index(begin)]))
        each += weights[begin] * (alone + base)
        begin += width
    got = likelihoods.log_likelihood(*map(jnp.asarray, (x, outputs)), BLOCKS, given, jnp.asarray(weights))
    np.testing.assert_allclose(got, each, rtol=1e-10)


def test_balanced_variables_cost_the_same_where_nothing_is_known(x64):
    """Costs by scipy's entropies and NumPy's variance; a rare code is held, a silent column left alone."""
    rng = np.random.default_rng(0)
    code, n = rng.choice(4, 500, p=[0.5, 0.3, 0.15, 0.05]), 500
    rare = np.arange(n) < 2
    x = np.column_stack(
        [1.5 * rng.normal(size=n), rare, code % 2, *(code == k for k in (1, 2, 3)), np.zeros((n, 2))]
    )
    costs = np.array(
        [
            x[:, 0].var() / 0.4,
            *(stats.entropy([share, 1 - share]) for share in x[:, 1:3].mean(axis=0)),
            stats.entropy(np.bincount(code)),
        ]
    )
    mean = costs.mean()
    for balance in (0.0, 0.5, 1.0):
        got = likelihoods.balanced(jnp.asarray(x), BLOCKS, 0.2, balance)
        want = np.minimum((mean / costs) ** balance, likelihoods.MOST_WEIGHT)
        want *= costs.sum() / (want @ costs)
        np.testing.assert_allclose(got[:6], [*want[:3], *[want[3]] * 3], rtol=1e-6)
        assert np.isfinite(got).all()
        np.testing.assert_allclose(want @ costs, costs.sum())  # beside the KL terms nothing changes
    assert want[1] == pytest.approx(likelihoods.MOST_WEIGHT * want[0] * costs[0] / mean)
    alike = (want * costs)[[0, 2, 3]]
    np.testing.assert_allclose(alike, alike[0])
    alone = likelihoods.balanced(jnp.asarray(x[:, :1]), BLOCKS[:1], 0.2, jnp.nan)
    assert np.isnan(alone).all()


def test_all_outcomes_of_the_discrete_columns_sum_to_one(x64):
    blocks = BLOCKS[1:3]
    _, outputs = rows_and_outputs(1)
    outcomes = np.array([(*bits, *one) for bits in product((0, 1), repeat=2) for one in np.eye(4, 3)])
    for out in outputs[:, 1:6]:
        logs = likelihoods.log_likelihood(
            jnp.asarray(outcomes), jnp.tile(out, (len(outcomes), 1)), blocks, 1.0
        )
        assert np.exp(logs).sum() == pytest.approx(1, rel=1e-12)
        # The mean of p(x|z), outcome by outcome.
        mean = np.exp(logs) @ outcomes
        np.testing.assert_allclose(likelihoods.means(jnp.asarray(out[None]), blocks)[0], mean, rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("noises", [0.3, [0.3], NOISES])
def test_gradients_are_those_of_the_density(x64, noises, weighted):
    """Against automatic differentiation, kind by kind; of a row with several codes of a variable too."""
    x, outputs = map(jnp.asarray, rows_and_outputs())
    x = x.at[0, 3:6].set(1.0)
    weights = jnp.array([0.5, 2.0, 1.5, 0.7, 0.7, 0.7, 1.2, 3.0]) if weighted else None
    slopes = jnp.asarray(np.random.default_rng(1).normal(size=len(x)))

    def plain(out: jax.Array, variances: jax.Array) -> jax.Array:
        each = jnp.broadcast_to(variances, 3)
        parts = (
            (likelihoods.gaussian, slice(0, 1), (each[:1],)),
            (likelihoods.bernoulli, slice(1, 3), ()),
            (likelihoods.categorical, slice(3, 6), ()),
            (likelihoods.gaussian, slice(6, 8), (each[1:],)),
        )
        return sum(
            of_kind(x[:, at], out[:, at], *more, None if weights is None else weights[at])
            for of_kind, at, more in parts
        )

    def whole(out: jax.Array, variances: jax.Array) -> jax.Array:
        return likelihoods.log_likelihood(x, out, BLOCKS, variances, weights)

    given = outputs, jnp.asarray(noises)
    got, want = (jax.grad(lambda *a, f=f: slopes @ f(*a), (0, 1))(*given) for f in (whole, plain))
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


def test_probabilities_far_out_stay_finite():
    x = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    blocks = (Block("bernoulli", 2), Block("categorical", 2))
    for size in (50.0, 1e4):
        logs, slope = jax.value_and_grad(lambda out: likelihoods.log_likelihood(x, out, blocks, 1.0).sum())(
            jnp.full((2, 4), size)
        )
        assert np.isfinite(logs)
        assert np.isfinite(slope).all()


def test_draws_have_the_means_and_the_noise(x64):
    rng = np.random.default_rng(0)
    outputs = jnp.tile(rows_and_outputs()[1][:1], (40_000, 1))
    means = np.asarray(likelihoods.means(outputs, BLOCKS))
    drawn = likelihoods.draw(rng, means, BLOCKS, NOISES)
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (abs(drawn.mean(axis=0) - means[0]) < 5 * error).all()
    np.testing.assert_allclose(drawn[:, [0, 6, 7]].var(axis=0), NOISES, rtol=0.05)
    assert set(np.unique(drawn[:, 1:6])) == {0, 1}
    assert drawn[:, 3:6].sum(axis=1).max() == 1


def case(noise):
    rng = np.random.default_rng(0)
    architecture = Architecture(8, latent_dim=2, n_clusters=3, widths=(6,), blocks=BLOCKS, noise=noise)
    params = model.init(jax.random.key(0), architecture, 2, 0.4)
    mixture = Mixture(*(jnp.asarray(rng.normal(size=s)) for s in ((3,), (3, 2), (3, 2))))
    x, eps = jnp.asarray(rows_and_outputs()[0]), jnp.asarray(rng.normal(size=(N, 2)))
    hyper = Hyperparameters(noise_variance=0.4, n_clusters=3)
    return architecture, params._replace(mixture=mixture), x, eps, hyper


@pytest.mark.parametrize("noise", ["fixed", "learned", "by-column"])
def test_the_reconstruction_is_that_likelihood(x64, noise):
    architecture, params, x, eps, hyper = case(noise)
    assert (params.log_noise_variances is None) == (noise == "fixed")
    found = elbo_terms(params, x, eps, architecture, hyper)
    posterior = model.encode(params, x, architecture, 2)
    z = posterior.means + jnp.exp(0.5 * posterior.log_variances) * eps
    outputs = np.asarray(model.outputs(params, z, architecture, 2))
    np.testing.assert_allclose(
        found.reconstruction, by_hand(np.asarray(x), outputs, np.full(3, 0.4)), rtol=1e-10
    )


@pytest.mark.parametrize("balance", [0.0, 0.7])
@pytest.mark.parametrize("noise", ["learned", "by-column"])
def test_a_learned_variance_is_best_at_the_mean_squared_error(x64, noise, balance):
    """One for all columns: at the mean by their weights."""
    architecture, params, x, eps, hyper = case(noise)
    weights = likelihoods.balanced(x, BLOCKS, hyper.noise_variance, balance)
    posterior = model.encode(params, x, architecture, 2)
    z = posterior.means + jnp.exp(0.5 * posterior.log_variances) * eps
    numbers = np.array([0, 6, 7])
    errors = (np.asarray(x) - np.asarray(model.outputs(params, z, architecture, 2)))[:, numbers] ** 2
    best = errors.mean(axis=0)
    if noise == "learned":
        best = np.average(best, weights=np.asarray(weights)[numbers], keepdims=True)

    def bound(log_noise):
        moved = params._replace(log_noise_variances=log_noise)
        return elbo_terms(moved, x, eps, architecture, hyper, None, weights).elbo().mean()

    at = jnp.asarray(np.log(best))
    np.testing.assert_allclose(jax.grad(bound)(at), 0, atol=1e-12)
    assert (np.diag(jax.hessian(bound)(at)) < 0).all()


@pytest.mark.parametrize("noise", [pytest.param("learned", marks=pytest.mark.long), "by-column"])
def test_training_finds_the_noise(noise):
    """What is learned is the mean squared error of the lane's own draws, and that is near the true noise."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 2))
    sds = np.array([0.2] * 8 if noise == "learned" else [0.2, 0.5] * 4)
    numbers = z @ rng.normal(size=(2, 8)) + sds * rng.normal(size=(3000, 8))
    flags = rng.random((3000, 2)) < 1 / (1 + np.exp(-3 * z))
    x = jnp.asarray(np.hstack([numbers, flags]), jnp.float32)
    blocks = (Block("gaussian", 8), Block("bernoulli", 2))
    architecture = Architecture(10, 2, 7, widths=(32,), blocks=blocks, noise=noise)
    stack = lanes.stack([0, 1], Hyperparameters(learning_rate=1e-2, noise_variance=1.0, patience=40))
    training = Training(batch_size=64, max_epochs=25)
    trained = lanes.train(x, lanes.init(stack, architecture), stack, "pretraining", architecture, training)
    assert np.asarray(trained.finite).all()
    for lane in range(2):
        params = take_lane(trained.params, lane)
        found = np.exp(np.asarray(params.log_noise_variances))
        posterior = model.encode(params, x, architecture, 2)
        noises = jax.random.normal(jax.random.key(lane), posterior.means.shape)
        means = model.decode(
            params, posterior.means + jnp.exp(0.5 * posterior.log_variances) * noises, architecture, 2
        )
        errors = np.asarray((x - means) ** 2)[:, :8].mean(axis=0)
        own, true = (errors, sds**2) if noise == "by-column" else (errors.mean(keepdims=True), sds[:1] ** 2)
        np.testing.assert_allclose(found, own, rtol=0.25)  # the last steps of the networks are ahead of it
        assert (abs(np.log(found / true)) < np.log(2)).all()


def test_a_lane_of_every_kind_is_the_same_alone_and_padded():
    architecture = Architecture(8, 3, 4, widths=(16,), blocks=BLOCKS, noise="by-column")
    x = jnp.asarray(np.vstack([rows_and_outputs(seed)[0] for seed in range(40)]), jnp.float32)
    settings = [Hyperparameters(latent_dim=d, n_clusters=3) for d in (2, 3)]
    training = Training(batch_size=64, max_epochs=3)
    both = lanes.stack([5, 6], settings)
    together = lanes.train(x, lanes.init(both, architecture), both, "pretraining", architecture, training)
    one = lanes.stack([5], settings[:1])
    narrow = Architecture(8, 2, 3, widths=(16,), blocks=BLOCKS, noise="by-column")
    alone = lanes.train(x, lanes.init(one, narrow), one, "pretraining", narrow, training)
    first = model.unpad(take_lane(together.params, 0), narrow)
    for got, want in zip(jax.tree.leaves(first), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(got, want[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("blocks", [(Block("gaussian", 7),), (Block("bernoulli", 4), Block("gaussian", 5))])
def test_blocks_that_are_not_the_columns_are_refused(blocks):
    with pytest.raises(ValueError, match="expected 8 columns in all"):
        Architecture(8, blocks=blocks)


def test_parameters_survive_as_arrays():
    _, params, *_ = case("by-column")
    again = model.Parameters.from_arrays(params.to_arrays())
    assert jax.tree.structure(again) == jax.tree.structure(params)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(one, other)
