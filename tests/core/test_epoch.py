"""An epoch against a plain loop with AdamW written out, and who sees which rows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jvade.core import draws, epoch, fit, lanes, shuffle
from jvade.core.fit import MixtureStart
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.model import decode, encode
from jvade.core.objective import ElboTerms, elbo_terms
from jvade.core.settings import Architecture, Hyperparameters, Training, unlike

N, N_TRAIN, BATCH = 100, 80, 32
ARCHITECTURE = Architecture(5, latent_dim=2, n_clusters=3, widths=(7,))
TRAINING = Training(batch_size=BATCH, max_epochs=2)
#: Values at which every part of the update matters: the clip binds, the decay is large, the KL is weighted.
HYPER = Hyperparameters(
    learning_rate=1e-2, weight_decay=0.3, clip_norm=0.05, noise_variance=0.4, kl_weight=0.5, n_clusters=3
)

run_block = jax.jit(epoch.run_block, static_argnums=(4, 5))


def case(seed=3, hyper=HYPER):
    rng = np.random.default_rng(0)
    lane = take_lane(lanes.stack([seed], hyper), 0)
    lane = jax.tree.map(lambda v: v.astype(float) if v.dtype == jnp.float32 else v, lane)
    params = epoch.init(lane, ARCHITECTURE)
    mixture = Mixture(*(jnp.asarray(rng.normal(size=s)) for s in ((3,), (3, 2), (3, 2))))
    return jnp.asarray(rng.normal(size=(N, 5))), lane, params._replace(mixture=mixture)


def plain_adamw(params, gradients, moments, step, hyper):
    """Loshchilov & Hutter 2019, after clipping by the global norm; leaf by leaf in NumPy."""
    leaves, tree = jax.tree.flatten(params)
    slopes = [np.asarray(g) for g in jax.tree.leaves(gradients)]
    norm = np.sqrt(sum(np.sum(g**2) for g in slopes))
    assert norm > hyper.clip_norm, "the clip must bind, or this test does not see it"
    new = []
    for i, (leaf, g) in enumerate(zip(leaves, slopes, strict=True)):
        g = g * hyper.clip_norm / norm
        m, v = moments.get(i, (0.0, 0.0))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        moments[i] = (m, v)
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        new.append(np.asarray(leaf) - hyper.learning_rate * (update + hyper.weight_decay * np.asarray(leaf)))
    return jax.tree.unflatten(tree, [jnp.asarray(leaf) for leaf in new])


def plain_training(x, lane, params, n_taken=N_TRAIN, n_scored=N - N_TRAIN):
    """Two epochs, handed the split, the orders and the noises; returns parameters and mean terms."""
    split = np.asarray(shuffle.permute(epoch.named_key(lane.key, "split"), jnp.arange(N), N))
    stage = epoch.named_key(lane.key, "fine-tuning")
    moments, step, history = {}, 0, []

    @jax.jit
    def terms_of(p, rows, noise):
        return elbo_terms(p, x[rows], noise, ARCHITECTURE, HYPER)

    @jax.jit
    @jax.grad
    def slope(p, rows, noise):
        return -jnp.mean(terms_of(p, rows, noise).elbo(HYPER.kl_weight))

    for e in range(2):
        key = jax.random.fold_in(epoch.named_key(stage, "train"), e)
        order = np.asarray(shuffle.permute(epoch.named_key(key, "order"), jnp.arange(N_TRAIN), N_TRAIN))
        sums = np.zeros(4)
        for i in range(0, n_taken, BATCH):
            rows = split[order[i : min(i + BATCH, n_taken)]]
            noise = jax.random.normal(
                jax.random.fold_in(epoch.named_key(key, "noise"), i // BATCH), (2, BATCH)
            ).T[: len(rows)]
            sums += np.array(terms_of(params, rows, noise)).sum(axis=1)
            gradients, step = slope(params, rows, noise), step + 1
            params = plain_adamw(params, gradients, moments, step, HYPER)
        rows = split[N_TRAIN : N_TRAIN + n_scored]
        noise = jax.random.normal(
            jax.random.fold_in(epoch.named_key(stage, "validation"), 0), (2, len(rows))
        ).T
        scored = np.array(terms_of(params, rows, noise)).mean(axis=1)
        history.append((sums / n_taken, scored))
    return params, history


@pytest.mark.parametrize(
    ("batch_size", "epoch_batches", "taken"),
    [(BATCH, None, (80, 20)), (BATCH, 2, (64, 16)), (None, 1, (32, 8)), (None, 3, (80, 20))],
)
def test_two_epochs_equal_a_plain_loop(x64, batch_size, epoch_batches, taken):
    """Over all rows, or as many as two batches have, or one: scored on the same ones every time.

    Batches that nobody chose have 32 rows of so small a table.
    """
    x, lane, params = case()
    training = replace(TRAINING, batch_size=batch_size, epoch_batches=epoch_batches)
    assert training.epoch_sizes(N) == taken
    state = epoch.start(params, lane, "fine-tuning", training)
    for _ in range(2):
        state = run_block(state, x, lane, state.epoch + 1, ARCHITECTURE, training)
    want, history = plain_training(x, lane, params, *taken)
    for got, expected in zip(jax.tree.leaves(state.params), jax.tree.leaves(want), strict=True):
        # The hyperparameters of a lane are float32 numbers; the loop's are Python's.
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    for e, (train, validation) in enumerate(history):
        np.testing.assert_allclose([t[e] for t in state.history.train], train, rtol=1e-5)
        np.testing.assert_allclose([t[e] for t in state.history.validation], validation, rtol=1e-5)


@pytest.mark.parametrize("poisoned", ["train", "validation"])
def test_training_and_validation_rows_are_kept_apart(x64, poisoned):
    """NaN in the rows of one span must not reach the mean terms of the other."""
    still = HYPER._replace(learning_rate=0.0, weight_decay=0.0)
    x, lane, params = case(hyper=still)
    split = np.asarray(epoch.split_row(lane, jnp.arange(N), N))
    rows = split[:N_TRAIN] if poisoned == "train" else split[N_TRAIN:]
    x = x.at[rows].set(jnp.nan)
    seen = {}

    def keep(carry, batch, seen, noise, weights):
        return carry, elbo_terms(params, batch, noise, ARCHITECTURE, still)

    spans = {"train": (0, N_TRAIN, N_TRAIN), "validation": (N_TRAIN, N - N_TRAIN, N - N_TRAIN)}
    for name, span in spans.items():
        _, terms = epoch._pass(0, keep, lane, x, jax.random.key(0), span, None, None, 2, TRAINING)
        seen[name] = bool(np.isfinite(np.array(terms)).all())
    assert seen == {"train": poisoned != "train", "validation": poisoned != "validation"}
    # And the epoch uses these spans: it is frozen, because one of its two scores is not finite.
    state = epoch.start(params, lane, "fine-tuning", TRAINING)
    state = run_block(state, x, lane, state.epoch + 1, ARCHITECTURE, TRAINING)
    assert not bool(state.finite)


def test_the_encoder_misses_a_share_of_the_inputs_and_the_decoder_names_all():
    """Hidden inputs are at their mean, others as they are; every row and step hides others."""
    x, lane, _ = case()
    training = Training(batch_size=BATCH, max_epochs=2, input_dropout=0.3)

    def keep(carry, rows, seen, noise, weights):
        zeros = jnp.zeros(BATCH)
        step, batches = carry
        batches = batches.at[step].set(jnp.stack([rows, seen]))
        return (step + 1, batches), ElboTerms(zeros, zeros, zeros, zeros)

    def draw(key, training=training):
        begin, means = (0, jnp.zeros((3, 2, BATCH, 5))), epoch._columns(x, lane, ARCHITECTURE, training).means
        rest = (0, 80, 80), None, means, 2, training
        (_, batches), _ = epoch._pass(begin, keep, lane, x, jax.random.key(key), *rest)
        rows, seen = np.asarray(batches[:, 0]), np.asarray(batches[:, 1])
        hidden = np.isclose(seen, np.asarray(x).mean(axis=0), atol=1e-6)
        np.testing.assert_array_equal(seen[~hidden], rows[~hidden])
        return hidden

    hidden = draw(0)
    assert abs(hidden.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / hidden.size)
    # As many distinct patterns as 96 draws of five coins would show, and others under another key.
    assert len(np.unique(hidden[0], axis=0)) > 10
    assert (hidden[0] != hidden[1]).any()
    assert (hidden != draw(1)).any()
    np.testing.assert_array_equal(hidden, draw(0))
    assert not draw(0, TRAINING).any()


def test_the_bound_of_hidden_inputs_is_taken_on_all_of_them():
    x, _, params = case()
    seen, noise = x.at[:, 2:].set(0.0), jnp.zeros((N, 2))
    terms = elbo_terms(params, x, noise, ARCHITECTURE, HYPER, seen)
    blind = elbo_terms(params, seen, noise, ARCHITECTURE, HYPER)
    for name in ("categorical_kl", "gaussian_cross_entropy", "posterior_entropy"):
        np.testing.assert_allclose(getattr(terms, name), getattr(blind, name), rtol=1e-6)
    means = decode(params, encode(params, seen, ARCHITECTURE, 2).means, ARCHITECTURE, 2)
    want = -0.5 * np.sum((means - x) ** 2 / 0.4 + np.log(2 * np.pi * 0.4), axis=1)
    np.testing.assert_allclose(terms.reconstruction, want, rtol=1e-5)


def test_every_seed_has_its_own_split_order_and_noise():
    splits = [np.asarray(epoch.split_row(case(seed)[1], jnp.arange(N), N)) for seed in (1, 2)]
    assert np.mean(splits[0] == splits[1]) < 0.1
    kept = [set(split[:N_TRAIN].tolist()) for split in splits]
    assert kept[0] != kept[1]


def test_a_nonfinite_epoch_leaves_the_state_as_it_was():
    x, lane, params = case(hyper=HYPER._replace(learning_rate=float("nan")))
    before = epoch.start(params, lane, "fine-tuning", TRAINING)
    after = run_block(before, x, lane, before.epoch + 1, ARCHITECTURE, TRAINING)
    assert not bool(after.finite)
    for a, b in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not bool(epoch.is_active(after, lane, TRAINING))


def start(latents, x=None, **changes):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(400, 5)), jnp.float32) if x is None else x
    stack = lanes.stack([1], HYPER)
    params = lanes.init(stack, ARCHITECTURE)
    settings = MixtureStart(latents=latents, n_rows=200, n_init=4, **changes)
    return x, fit.start_mixtures(params, x, stack, ARCHITECTURE, TRAINING, settings)


def test_a_mixture_started_on_samples_is_wider_than_one_on_means():
    """The posterior's own variance is in the samples, and not in the means."""
    spread = {
        kind: float(jnp.mean(start(kind)[1].components.covariances[0])) for kind in ("means", "samples")
    }
    assert spread["samples"] > 2 * spread["means"]


@pytest.mark.parametrize(
    ("latents", "max_rows", "n_used"),
    [("means", None, 320), ("means", 1000, 320), ("means", 250, 250), ("samples", 250, 250)],
)
def test_validation_rows_have_no_part_in_the_start_of_the_mixture(latents, max_rows, n_used):
    """Nor have training rows beyond `max_rows`; the one before them has."""
    x, want = start(latents, max_rows=max_rows)
    lane = take_lane(lanes.stack([1], HYPER), 0)
    split = epoch.split_row(lane, jnp.arange(400), 400)
    _, got = start(latents, x.at[split[n_used:]].set(100.0), max_rows=max_rows)
    np.testing.assert_array_equal(got.components.means, want.components.means)
    _, other = start(latents, x.at[split[n_used - 1]].set(100.0), max_rows=max_rows)
    assert not np.array_equal(other.components.means, want.components.means)


def test_a_sweep_keeps_the_type_of_the_field_whatever_comes_first():
    """A list that begins with the whole number 1 must not turn 0.1 into 0."""
    stack = lanes.stack([1, 2], [HYPER._replace(noise_variance=1), HYPER._replace(noise_variance=0.1)])
    np.testing.assert_allclose(stack.hyperparameters.noise_variance, [1.0, 0.1])
    plain = lanes.stack([1, 2], HYPER)
    for a, b in zip(jax.tree.leaves(stack), jax.tree.leaves(plain), strict=True):
        assert a.dtype == b.dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patience": 0}, "patience: expected a whole number, at least 1, got 0"),
        ({"noise_variance": 0.0}, r"noise_variance: expected above 0, got 0\.0"),
        ({"kl_weight": -1.0}, r"kl_weight: expected at least 0, got -1\.0"),
        ({"warmup_epochs": 2.7}, r"warmup_epochs: expected a whole number, at least 0, got 2\.7"),
        ({"annealing_cycles": 0}, "annealing_cycles: expected a whole number, at least 1, got 0"),
        ({"annealing_cycles": 3}, "annealing_cycles: expected 1 without warmup_epochs, got 3"),
        ({"pretraining_kl_weight": -0.5}, r"pretraining_kl_weight: expected at least 0, got -0\.5"),
        ({"occupancy_floor": 1.0}, r"occupancy_floor: expected at least 0, below 1, got 1\.0"),
        ({"repulsion": -1.0}, r"repulsion: expected at least 0, got -1\.0"),
        ({"learning_rate": "fast"}, "learning_rate: expected a number, at least 0, got 'fast'"),
        ({"n_clusters": 2.5}, r"n_clusters: expected a whole number, at least 1, got 2\.5"),
    ],
)
def test_lanes_that_cannot_train_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        lanes.stack([1], HYPER._replace(**change))


@pytest.mark.parametrize(
    ("value", "limits", "lines"),
    [
        (3, {"whole": True, "least": 1}, []),
        (np.int64(3), {"whole": True, "least": 1}, []),
        (3.0, {"whole": True}, ["a: expected a whole number, got 3.0"]),
        (np.nan, {"least": 0}, ["a: expected a number, at least 0, got nan"]),
        (np.nan, {"least": 0, "nan": True}, []),
        (np.nan, {"whole": True}, ["a: expected a whole number, got nan"]),
        (0.5, {"above": 0, "below": 1}, []),
        (1.0, {"above": 0, "below": 1}, ["a: expected above 0, below 1, got 1.0"]),
        (0, {"whole": True, "least": 1}, ["a: expected a whole number, at least 1, got 0"]),
        ("large", {"whole": True, "least": 1}, ["a: expected a whole number, at least 1, got 'large'"]),
        (None, {"above": 0}, ["a: expected a number, above 0, got None"]),
    ],
)
def test_a_setting_is_held_against_its_limits(value, limits, lines):
    assert unlike("a", value, **limits) == lines


def trained_for_an_epoch(stage, **settings):
    x, lane, params = case(hyper=HYPER._replace(**settings))
    if stage == "pretraining":
        params = params._replace(mixture=None)
    return epoch.start(params, lane, stage, TRAINING), x, lane


def after_an_epoch_as_weighted(stage, weight, **settings):
    """Train for an epoch, as a lane of that KL weight would; return the state, and the terms told of it."""
    ours, x, lane = trained_for_an_epoch(stage, **settings)
    plain, _, as_weighted = trained_for_an_epoch(stage, kl_weight=weight)
    after, want = (
        run_block(state, x, one, jnp.array(1), ARCHITECTURE, TRAINING)
        for state, one in ((ours, lane), (plain, as_weighted))
    )
    for got, expected in zip(jax.tree.leaves(after.params), jax.tree.leaves(want.params), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    return after, jax.tree.map(lambda term: term[0], after.history.validation)


@pytest.mark.parametrize(("stage", "weight"), [("pretraining", 0.25), ("fine-tuning", 0.75)])
def test_the_kl_weight_grows_in_the_pretraining(x64, stage, weight):
    """In the first of three epochs a third of it counts; the losses that are told are whole."""
    # Weights that single precision holds exactly.
    after, told = after_an_epoch_as_weighted(stage, weight, kl_weight=0.75, warmup_epochs=3)
    np.testing.assert_allclose(after.best_loss, -told.elbo(0.75), rtol=1e-9)


def test_until_the_weight_is_whole_the_last_epoch_is_kept(x64):
    """Patience and the best epoch begin where losses can be compared."""
    training = Training(batch_size=BATCH, max_epochs=6)
    x, lane, params = case(hyper=HYPER._replace(warmup_epochs=4, learning_rate=0.0, weight_decay=0.0))
    state = epoch.start(params._replace(mixture=None), lane, "pretraining", training)
    kept = []
    for until in range(1, 7):
        state = run_block(state, x, lane, jnp.array(until), ARCHITECTURE, training)
        kept.append(int(state.epochs_since_best))
    assert kept == [0, 0, 0, 1, 2, 3]  # nothing is learned: no later epoch is better


def slopes_of_epochs(monkeypatch, **settings):
    """Return the KL weight that each epoch of a pretraining is differentiated with, and patience after it."""
    seen, plain = [], epoch.elbo_terms_and_log_gamma

    def seeing(params, rows, noise, architecture, hyperparameters, *rest):
        seen.append(hyperparameters.kl_weight)
        return plain(params, rows, noise, architecture, hyperparameters, *rest)

    monkeypatch.setattr(epoch, "elbo_terms_and_log_gamma", seeing)
    training = Training(batch_size=N, max_epochs=12)
    x, lane, params = case(hyper=HYPER._replace(learning_rate=0.0, weight_decay=0.0, patience=99, **settings))
    params = params._replace(mixture=None)
    unravel = ravel_pytree(params)[1]
    state = epoch.start(params, lane, "pretraining", training)
    state = epoch.map_parameters(lambda one: ravel_pytree(one)[0], state)
    weights, patience = [], []

    @jax.jit
    def one_epoch(state):
        seen.clear()
        after = epoch.run_epoch(
            state, x, lane, unravel, ARCHITECTURE, training, epoch.ColumnStatistics(None, None)
        )
        return after, seen[0]

    for _ in range(training.max_epochs):
        state, weight = one_epoch(state)
        weights.append(float(weight))
        patience.append(int(state.epochs_since_best))
    return weights, patience


def test_the_kl_weight_is_annealed_cycle_by_cycle(x64, monkeypatch):
    """Three cycles of three epochs, by hand: each ends with the whole weight, as all that follows has it."""
    weights, patience = slopes_of_epochs(monkeypatch, kl_weight=0.75, warmup_epochs=3, annealing_cycles=3)
    np.testing.assert_allclose(weights, [0.25, 0.5, 0.75] * 3 + [0.75] * 3)
    assert patience == [0] * 8 + [1, 2, 3, 4]  # nothing is learned: no later epoch is better


@pytest.mark.parametrize(("stage", "weight"), [("pretraining", 0.375), ("fine-tuning", 0.75)])
def test_the_pretraining_has_a_kl_weight_of_its_own(x64, stage, weight):
    """Half of it, in the losses too; the fine-tuning has the whole."""
    after, told = after_an_epoch_as_weighted(stage, weight, kl_weight=0.75, pretraining_kl_weight=0.5)
    np.testing.assert_allclose(after.best_loss, -told.elbo(weight), rtol=1e-9)
    assert abs(float(told.elbo(0.75) - told.elbo(0.375))) > 1e-3  # or the last line tells nothing


def test_a_pretraining_without_kl_is_that_of_an_autoencoder(x64):
    """One step, without clip or decay: the first moment of Adam is a tenth of the gradient of the error."""
    training = Training(batch_size=N, max_epochs=1)
    x, lane, params = case(hyper=HYPER._replace(pretraining_kl_weight=0.0, clip_norm=1e9, weight_decay=0.0))
    params = params._replace(mixture=None)
    state = epoch.start(params, lane, "pretraining", training)
    after = run_block(state, x, lane, jnp.array(1), ARCHITECTURE, training)
    stage = epoch.named_key(lane.key, "pretraining")
    key = jax.random.fold_in(epoch.named_key(stage, "train"), 0)
    order = shuffle.permute(epoch.named_key(key, "order"), jnp.arange(N_TRAIN), N_TRAIN)
    rows = x[epoch.split_row(lane, order, N)]
    noise = draws.noise(jax.random.fold_in(epoch.named_key(key, "noise"), 0), 2, N_TRAIN).T

    def error(params):
        q = encode(params, rows, ARCHITECTURE, 2)
        z = q.means + jnp.exp(0.5 * q.log_variances) * noise
        return 0.5 * jnp.mean(jnp.sum((rows - decode(params, z, ARCHITECTURE, 2)) ** 2, axis=1)) / 0.4

    moments = optax.tree_utils.tree_get(after.opt_state, "mu")
    for got, want in zip(jax.tree.leaves(moments), jax.tree.leaves(jax.grad(error)(params)), strict=True):
        np.testing.assert_allclose(got, 0.1 * want, rtol=1e-5, atol=1e-9)
        assert np.any(np.abs(want) > 1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_mixture_has_a_rate_of_its_own(x64, rate):
    training = Training(batch_size=N, max_epochs=1, validation_fraction=0.2)
    ends = []
    for factor in (rate, 1.0):
        x, lane, params = case(hyper=HYPER._replace(mixture_rate=factor))
        state = epoch.start(params, lane, "fine-tuning", training)
        ends.append(run_block(state, x, lane, jnp.array(1), ARCHITECTURE, training).params)  # one step
    slow, whole = ends
    for name in ("encoder", "decoder"):
        for got, want in zip(*(jax.tree.leaves(getattr(one, name)) for one in ends), strict=True):
            np.testing.assert_array_equal(got, want)
    mixtures = slow.mixture, whole.mixture, params.mixture
    for got, want, start in zip(*map(jax.tree.leaves, mixtures), strict=True):
        np.testing.assert_allclose(got - start, rate * (want - start), rtol=1e-6, atol=1e-12)
        assert np.any(want != start)
