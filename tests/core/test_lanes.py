"""Lanes: alone or in a stack, stopped, poisoned, compacted, padded, in blocks of any length."""

import itertools
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import Kept
from sklearn.metrics import adjusted_rand_score

from jvade.core import epoch, fit, lanes, layout, model
from jvade.core.fit import MixtureStart
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture
from jvade.core.settings import Architecture, Block, Hyperparameters, Training

ARCHITECTURE = Architecture(6, latent_dim=2, n_clusters=3, widths=(16,))
HYPER = Hyperparameters(learning_rate=3e-3, n_clusters=3)
START = MixtureStart(n_rows=400, n_init=2)
OPTIONS = {"batch_size": 64, "max_epochs": 12, "block_epochs": 4, "layout": "vmap"}
#: Of runs in double precision. Sums are taken in another order in another layout; in single precision AdamW
#: turns the rounding of a gradient near zero into a whole step, which says nothing about the lanes.
TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}


def rows(n=700, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(3, 2))[rng.integers(0, 3, n)] * 2 + 0.3 * rng.normal(size=(n, 2))
    return jnp.asarray(np.tanh(z @ rng.normal(size=(2, 6))) + 0.1 * rng.normal(size=(n, 6)))


def run(stack, architecture=ARCHITECTURE, on_block=None, **settings):
    """Train a stack on the same rows. Tests keep to few widths: every new one is compiled."""
    return fit.fit(rows(), stack, architecture, Training(**OPTIONS | settings), START, on_block)


def pretrain(stack, **settings):
    """Train a stack to the end of the first stage: half of what `run` compiles."""
    training = Training(**OPTIONS | settings)
    return lanes.train(rows(), lanes.init(stack, ARCHITECTURE), stack, "pretraining", ARCHITECTURE, training)


def assert_same_lane(one, i, other, j, **tolerance):
    tolerance = tolerance or TOLERANCE
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a[i], float), np.asarray(b[j], float), **tolerance)


@pytest.mark.parametrize(
    ("layout", "epoch_batches"),
    [
        ("vmap", None),
        pytest.param("map", 3, marks=pytest.mark.long),
        pytest.param("map", None, marks=pytest.mark.long),
        pytest.param("vmap", 3, marks=pytest.mark.long),
    ],
)
def test_a_lane_in_a_stack_equals_the_lane_alone(x64, layout, epoch_batches):
    settings = [HYPER, HYPER._replace(noise_variance=0.3), HYPER._replace(learning_rate=1e-2)]
    together = run(lanes.stack([1, 2, 3], settings), layout=layout, epoch_batches=epoch_batches)
    for i, hyper in enumerate(settings):
        alone = run(lanes.stack([i + 1], hyper), epoch_batches=epoch_batches)
        assert int(alone.finetuned.n_epochs[0]) == int(together.finetuned.n_epochs[i])
        assert_same_lane(together.pretrained, i, alone.pretrained, 0)
        assert_same_lane(together.finetuned, i, alone.finetuned, 0)


@pytest.mark.bitwise
def test_lanes_differ_by_seed_and_the_same_seed_gives_the_same_bits():
    one, two = run(lanes.stack([1, 2, 1], HYPER)), run(lanes.stack([1, 2, 1], HYPER))
    assert abs(float(one.finetuned.best_loss[0] - one.finetuned.best_loss[1])) > 1e-4
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[0], a[2])


@pytest.mark.parametrize("layout", ["vmap", pytest.param("map", marks=pytest.mark.long)])
def test_early_stopping_of_one_lane_leaves_the_others_alone(x64, layout):
    """A lane with nothing to learn stops at its patience; its neighbours run as without it."""
    hopeless = HYPER._replace(learning_rate=0.0, weight_decay=0.0, patience=1)
    patient = HYPER._replace(patience=50)
    got = run(lanes.stack([1, 2, 3], [patient, hopeless, patient]), layout=layout)
    assert got.pretrained.n_epochs.tolist() == [12, 2, 12]
    assert got.pretrained.converged.tolist() == [False, True, False]
    for lane, seed in ((0, 1), (2, 3)):
        assert_same_lane(got.finetuned, lane, run(lanes.stack([seed], patient)).finetuned, 0)


@pytest.mark.parametrize("layout", ["vmap", "map"])
def test_a_poisoned_lane_is_reported_and_the_rest_equal_a_run_without_it(x64, layout):
    poisoned = HYPER._replace(learning_rate=float("nan"))
    got = run(lanes.stack([1, 2, 3], [HYPER, poisoned, HYPER]), layout=layout)
    assert got.finetuned.finite.tolist() == [True, False, True]
    messages = fit.failures(got)
    assert len(messages) == 1
    assert messages[0].startswith("lane 1 went non-finite in the pretraining")
    for lane, seed in ((0, 1), (2, 3)):
        alone = run(lanes.stack([seed], HYPER))
        assert_same_lane(got.pretrained, lane, alone.pretrained, 0)
        assert_same_lane(got.finetuned, lane, alone.finetuned, 0)
    for leaf in jax.tree.leaves(got.finetuned.params):
        assert np.all(np.isfinite(leaf))


@pytest.mark.bitwise
@pytest.mark.parametrize(
    ("layout", "block_epochs"),
    [
        ("vmap", 5),
        *(
            pytest.param(layout, n, marks=pytest.mark.long)
            for layout, n in (("vmap", 1), ("vmap", 7), ("map", 1), ("map", 5), ("map", 7))
        ),
    ],
)
def test_the_length_of_a_block_changes_no_result(layout, block_epochs):
    """To the bit at one width: `compact` changes the width only between blocks of a batched stack."""
    stack = lanes.stack([1], HYPER._replace(patience=2))
    want = run(stack, block_epochs=12, layout=layout)
    got = run(stack, block_epochs=block_epochs, layout=layout)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_array_equal(a, b)


def test_compaction_changes_nothing(x64, monkeypatch):
    widths, block = [], lanes._block

    def watched(states, *arguments, **named):
        widths.append(len(states.epoch))
        return block(states, *arguments, **named)

    monkeypatch.setattr(lanes, "_block", watched)
    patience = [1, 50, 1, 2]
    stack = lanes.stack([1, 2, 3, 4], [HYPER._replace(patience=p, learning_rate=2e-2) for p in patience])
    params = lanes.init(stack, ARCHITECTURE)
    blocks, whole = (
        lanes.train(
            rows(),
            params,
            stack,
            "pretraining",
            ARCHITECTURE,
            Training(64, 12, block_epochs=block_epochs, layout="vmap"),
        )
        for block_epochs in (1, 12)
    )
    assert blocks.n_epochs.tolist() == whole.n_epochs.tolist()
    assert len(set(blocks.n_epochs.tolist())) > 1
    assert widths[-1] == 4, "one block of all lanes"
    assert widths[:-1] == sorted(widths[:-1], reverse=True)
    assert set(widths) == {4, 2}, "lanes that had stopped were left out"
    for lane in range(4):
        assert_same_lane(blocks, lane, whole, lane)


def test_compact_keeps_active_lanes_and_widths_of_powers_of_two():
    rng = np.random.default_rng(0)
    for _ in range(200):
        active = rng.random(rng.integers(1, 70)) < rng.random()
        if not active.any():
            continue
        index = lanes.compact(active, "vmap", 1)
        assert set(np.flatnonzero(active)) <= set(index)
        assert len(set(index)) == len(index)
        assert len(index) == len(active) or (len(index) & (len(index) - 1)) == 0
        assert len(index) < 2 * active.sum()
        assert np.array_equal(lanes.compact(active, "map", 1), np.arange(len(active)))


def test_an_accelerator_compacts_where_it_pays(monkeypatch):
    monkeypatch.setattr(lanes.layouts, "on_accelerator", lambda: True)
    active = np.arange(35) % 7 == 0  # 5 of them
    assert len(lanes.compact(active, "auto", lanes.SAVED_STEPS)) == 16
    assert len(lanes.compact(active, "auto", lanes.SAVED_STEPS // 19)) == 35
    assert len(lanes.compact(active[:14], "auto", lanes.SAVED_STEPS)) == 4


@pytest.mark.parametrize("covariance_type", ["diag", pytest.param("full", marks=pytest.mark.long)])
def test_a_padded_lane_equals_the_unpadded_run(x64, covariance_type):
    """One stack of d = 2, 3 and K = 3, 5, padded to 4 and 6, against each alone at its own size."""
    sizes = [(2, 3), (3, 5)]
    wide = Architecture(6, latent_dim=4, n_clusters=6, widths=(16,), covariance_type=covariance_type)
    settings = [HYPER._replace(latent_dim=d, n_clusters=k) for d, k in sizes]
    together = run(lanes.stack([7, 7], settings), architecture=wide)
    for i, (d, k) in enumerate(sizes):
        own = replace(wide, latent_dim=d, n_clusters=k)
        alone = run(lanes.stack([7], settings[i]), architecture=own)
        assert int(alone.finetuned.n_epochs[0]) == int(together.finetuned.n_epochs[i])
        assert_same_lane(together.pretrained.history, i, alone.pretrained.history, 0)
        assert_same_lane(together.mixture_start.lower_bound, i, alone.mixture_start.lower_bound, 0)
        assert_same_lane(together.finetuned.history, i, alone.finetuned.history, 0)
        got = together.finetuned.params.mixture.means[i, :k, :d]
        np.testing.assert_allclose(got, alone.finetuned.params.mixture.means[0], **TOLERANCE)


def test_a_long_training_runs_each_lane_at_its_own_size_to_the_same_result(x64, monkeypatch):
    sizes = [(2, 3), (3, 5)]
    wide = Architecture(6, latent_dim=4, n_clusters=6, widths=(16,), covariance_type="full")
    stack = lanes.stack([7, 8], [HYPER._replace(latent_dim=d, n_clusters=k) for d, k in sizes])
    means = jnp.asarray(np.random.default_rng(1).normal(size=(2, 6, 4)))
    shears = jnp.asarray(np.random.default_rng(2).normal(size=(2, 6, 4, 4)))
    start = lanes.init(stack, wide)._replace(mixture=Mixture(means[:, :, 0], means, means, shears))
    training, ran = Training(64, 4, block_epochs=2, layout="map"), []
    in_turns = lanes._in_turns

    def watched(calls):
        used = [static["architecture"] for _, static in calls]
        ran.append([(one.latent_dim, one.n_clusters) for one in used])
        return in_turns(calls)

    padded = lanes.train(rows(), start, stack, "fine-tuning", wide, training)
    monkeypatch.setattr(lanes, "LONG", 4 * 9)  # batches of an epoch
    monkeypatch.setattr(lanes, "_in_turns", watched)
    own = lanes.train(rows(), start, stack, "fine-tuning", wide, training)
    assert ran == [sizes, sizes], "two blocks"
    for i, (d, k) in enumerate(sizes):
        assert_same_lane(own.history, i, padded.history, i)
        small = replace(wide, latent_dim=d, n_clusters=k)
        one, other = (model.unpad(take_lane(found.params, i), small) for found in (own, padded))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, **TOLERANCE)
    monkeypatch.setattr(lanes, "LONG", 4 * 9 + 1)
    ran.clear()
    lanes.train(rows(), start, stack, "fine-tuning", wide, training)
    assert not ran


def test_a_long_training_runs_only_the_lanes_at_work(x64, monkeypatch):
    hopeless = HYPER._replace(learning_rate=0.0, weight_decay=0.0, patience=1)
    stack = lanes.stack([1, 2], [HYPER._replace(patience=50), hopeless])
    training, ran = Training(64, 4, block_epochs=1, layout="map"), []
    in_turns, params = lanes._in_turns, lanes.init(stack, ARCHITECTURE)

    def watched(calls):
        ran.append(len(calls))
        return in_turns(calls)

    short = lanes.train(rows(), params, stack, "pretraining", ARCHITECTURE, training)
    monkeypatch.setattr(lanes, "LONG", 1)
    monkeypatch.setattr(lanes, "_in_turns", watched)
    long = lanes.train(rows(), params, stack, "pretraining", ARCHITECTURE, training)
    assert ran == [2, 2, 1, 1], "a block of each epoch"
    assert long.n_epochs.tolist() == short.n_epochs.tolist() == [4, 2]
    for lane in range(2):
        assert_same_lane(long, lane, short, lane)


def in_pieces(monkeypatch, after_each=lambda n_run: None):
    """Have long trainings on two cores; return the pieces that they run, as seed, first epoch and end."""
    pieces, compiled, numbers = [], lanes.layouts.compiled, itertools.count(1)

    def watched(function, calls, *options, **named):
        run = compiled(function, calls, *options, **named)

        def call(one):
            (state, _, lane, end), _ = one
            pieces.append((int(jax.random.key_data(lane.key)[1]), int(state.epoch), int(end)))
            found = run(one)
            after_each(next(numbers))
            return found

        return call if function is lanes._block_alone else run

    monkeypatch.setattr(lanes, "LONG", 1)
    monkeypatch.setattr(lanes.layouts, "THREADS", 2)
    monkeypatch.setattr(lanes.layouts, "compiled", watched)
    return pieces


def test_cores_take_large_pieces_first_and_single_epochs_at_the_end(x64, monkeypatch):
    hopeless = HYPER._replace(learning_rate=0.0, weight_decay=0.0, patience=1)
    stack = lanes.stack([1, 2, 3], [HYPER._replace(patience=50)] * 2 + [hopeless])
    params, training = lanes.init(stack, ARCHITECTURE), Training(64, 8, block_epochs=8, layout="map")
    short = lanes.train(rows(), params, stack, "pretraining", ARCHITECTURE, training)
    pieces = in_pieces(monkeypatch)
    long = lanes.train(rows(), params, stack, "pretraining", ARCHITECTURE, training)
    assert long.n_epochs.tolist() == short.n_epochs.tolist() == [8, 8, 2]
    for lane in range(3):
        assert_same_lane(long, lane, short, lane)
        own = [(begin, end) for seed, begin, end in pieces if seed == lane + 1]
        assert [begin for begin, _ in own] == [0, *(end for _, end in own[:-1])]
        assert own[-1][1] == 8 or lane == 2
    lengths = [end - begin for _, begin, end in pieces]
    assert max(lengths) == 24 // 4, "half of a core's share"
    assert lengths[-1] == 1


@pytest.mark.parametrize("n_times", [1, 2])
def test_what_a_person_stops_within_a_block_goes_on_from_there(x64, monkeypatch, n_times):
    """Lanes are kept where ctrl-C leaves them, pressed once or more, and end as if there had been none."""
    stack = lanes.stack([1, 2, 3], HYPER._replace(patience=50))
    params, training = lanes.init(stack, ARCHITECTURE), Training(64, 8, block_epochs=4, layout="map")
    kept = Kept()
    arguments = rows(), params, stack, "pretraining", ARCHITECTURE, training
    want = lanes.train(*arguments)

    def press_ctrl_c(n_run):
        for _ in range(n_times if n_run == 3 else 0):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)  # a piece takes less than the handler

    pieces = in_pieces(monkeypatch, press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            lanes.train(*arguments, keeper=kept)
    finally:
        signal.signal(signal.SIGINT, before)
    epochs = kept.states[-1].epoch.tolist()
    ends = [[0, *(end for seed, _, end in pieces if seed == one)] for one in (1, 2, 3)]
    if n_times == 1:
        assert epochs == [of_one[-1] for of_one in ends]
    else:  # it does not wait for the piece that is at work
        assert all(epoch in of_one[-2:] for epoch, of_one in zip(epochs, ends, strict=True))
    assert 0 < sum(epochs) < 3 * 4
    pieces.clear()
    got = lanes.train(*arguments, keeper=Kept(kept.states[-1]))
    assert not any(begin < 4 < end for _, begin, end in pieces), "blocks are those of the whole training"
    for lane in range(3):
        assert_same_lane(got, lane, want, lane)


def test_a_core_that_fails_stops_the_others(x64, monkeypatch):
    def fail(n_run):
        if n_run == 1:
            raise MemoryError

    stack = lanes.stack([1, 2], HYPER._replace(patience=50))
    params, training = lanes.init(stack, ARCHITECTURE), Training(64, 8, block_epochs=8, layout="map")
    pieces = in_pieces(monkeypatch, fail)
    with pytest.raises(MemoryError):
        lanes.train(rows(), params, stack, "pretraining", ARCHITECTURE, training)
    assert len(pieces) <= 3


def test_all_but_long_trainings_is_compiled_quickly_and_nothing_against_a_persons_flags(monkeypatch):
    asked = []
    monkeypatch.setattr(layout, "_options", lambda quickly: asked.append(quickly))
    stack = lanes.stack([1], HYPER)
    for long, want in ((10**9, True), (1, False)):
        layout._programs.clear()
        asked.clear()
        monkeypatch.setattr(lanes, "LONG", long)
        training = Training(64, 1, layout="map")
        lanes.train(rows(), lanes.init(stack, ARCHITECTURE), stack, "pretraining", ARCHITECTURE, training)
        assert asked == [True, True, want], "starting values, start, training"
    monkeypatch.undo()
    monkeypatch.setenv("XLA_FLAGS", "")
    assert layout._options(quickly=True) == {"xla_backend_optimization_level": 1}
    assert layout._options(quickly=False) is None
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert layout._options(quickly=True) is None
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(layout, "on_accelerator", lambda: True)
    assert layout._options(quickly=True) is None


def test_best_parameters_are_returned():
    """The validation loss of the returned parameters is the lowest of the history."""
    stack = lanes.stack([1], HYPER._replace(learning_rate=5e-2, patience=4))
    training = Training(batch_size=64, max_epochs=12, layout="vmap")
    x = rows()
    got = lanes.train(x, lanes.init(stack, ARCHITECTURE), stack, "pretraining", ARCHITECTURE, training)
    history = np.asarray(got.history.validation.elbo()[0])
    n = int(got.n_epochs[0])
    assert np.all(np.isnan(history[n:]))
    np.testing.assert_allclose(-np.nanmax(history), got.best_loss[0], rtol=1e-6)
    assert n == np.nanargmax(history) + 1 + 4 or n == 12
    assert int(got.best_epoch[0]) == np.nanargmax(history) < n - 1, "else this test shows nothing"
    # Score once more from the returned parameters with the stage's fixed validation noise.
    lane = jax.tree.map(lambda a: a[0], stack)
    params = jax.tree.map(lambda a: a[0], got.params)
    frozen = lane._replace(hyperparameters=lane.hyperparameters._replace(learning_rate=0.0, weight_decay=0.0))
    state = epoch.start(params, frozen, "pretraining", training)
    again = epoch.run_block(state, x, frozen, state.epoch + 1, ARCHITECTURE, training)
    np.testing.assert_allclose(again.best_loss, got.best_loss[0], rtol=1e-5)


def test_the_pretraining_may_be_shorter():
    """It is one of so many epochs, to the bit, and the fine-tuning is as long as ever."""
    stack = lanes.stack([1, 2], HYPER._replace(patience=50))
    got = run(stack, max_epochs=4, pretraining_epochs=2)
    short = pretrain(stack, max_epochs=2)
    assert got.pretrained.history.train.reconstruction.shape == (2, 2)
    for a, b in zip(jax.tree.leaves(got.pretrained), jax.tree.leaves(short), strict=True):
        np.testing.assert_array_equal(a, b)
    assert got.finetuned.n_epochs.tolist() == [4, 4]
    at_most = Training(max_epochs=3, pretraining_epochs=9)
    assert [at_most.of_stage(one).max_epochs for one in (True, False)] == [3, 3]
    bounds = [Training(max_epochs=3, pretraining_epochs=n).pretraining_bound for n in (None, 2, 3, 9)]
    assert bounds == ["max_epochs", "pretraining_epochs", "max_epochs", "max_epochs"]


def test_validation_noise_is_the_same_in_every_epoch_and_training_noise_is_not():
    """With nothing learned, every validation score is the same, and training scores move."""
    still = HYPER._replace(learning_rate=0.0, weight_decay=0.0, patience=50)
    got = run(lanes.stack([1], still))
    validation = np.asarray(got.pretrained.history.validation.reconstruction[0])
    train = np.asarray(got.pretrained.history.train.reconstruction[0])
    assert np.ptp(validation) == 0.0
    assert len(np.unique(train)) == len(train)


def test_every_training_row_is_used_once_an_epoch_and_no_validation_row():
    """The mean of a column over an epoch's batches equals its mean over the training rows."""
    n, training = 700, Training(batch_size=64)
    lane = jax.tree.map(lambda a: a[0], lanes.stack([3], HYPER))
    n_train, n_validation = training.split_sizes(n)
    assert (n_train, n_validation) == (560, 140)
    split = np.asarray(epoch.split_row(lane, jnp.arange(n), n))
    assert np.array_equal(np.sort(split), np.arange(n))
    marks = jnp.zeros((n, 1)).at[:, 0].set(jnp.arange(n))
    seen = []

    def step(carry, x, _seen, _noise, weights):
        jax.debug.callback(lambda r, w: seen.extend(r[w > 0, 0].astype(int).tolist()), x, weights)
        zero = jnp.zeros(())
        return carry, epoch.ElboTerms(zero, zero, zero, zero)

    orders = []
    for e in range(2):
        seen.clear()
        key = jax.random.key(e)
        epoch._pass(0, step, lane, marks, key, (0, n_train, n_train), key, None, 2, training)
        jax.effects_barrier()
        assert sorted(seen) == sorted(split[:n_train].tolist())
        orders.append(list(seen))
    assert np.mean(np.array(orders[0]) == np.array(orders[1])) < 0.05


def test_nothing_is_compiled_for_a_second_call_or_for_traced_settings(compiled):
    """Other seeds and other traced settings, sizes in use included, run the same program."""
    stack = lanes.stack([1, 2, 3], HYPER)
    run(stack, layout="map")
    compiled.clear()
    changed = Hyperparameters(2e-3, 1e-4, 0.5, 0.2, 0.9, 3, 1, 2, 1, 0.5)
    run(stack, layout="map")
    run(lanes.stack([7, 8, 9], [changed, HYPER, HYPER]), layout="map", block_epochs=3)
    assert compiled == []
    pretrain(stack, layout="map", batch_size=32)  # static: the watch must see a compilation
    assert any("_block" in name for name in compiled)


def test_progress_is_reported_at_block_ends():
    seen = []
    stack = lanes.stack([1, 2, 3], HYPER._replace(patience=50))
    run(stack, on_block=seen.append, block_epochs=5, layout="map")
    stages = [(p.stage, p.epoch) for p in seen]
    assert stages == [(s, e) for s in ("pretraining", "fine-tuning") for e in (0, 5, 10, 12)]
    assert all(p.active.shape == p.validation_loss.shape == (3,) for p in seen)


def test_two_stages_recover_planted_clusters():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 1500)
    x = 3 * rng.normal(size=(3, 6))[labels] + 0.3 * rng.normal(size=(1500, 6))
    x = jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32)
    stack = lanes.stack([0], HYPER)
    got = fit.fit(x, stack, ARCHITECTURE, Training(batch_size=64, max_epochs=12), START)
    placed = fit.assign(take_lane(got.finetuned.params, 0), x, take_lane(stack, 0), ARCHITECTURE)
    assert adjusted_rand_score(labels, np.argmax(placed.responsibilities, axis=1)) > 0.95
    assert fit.failures(got) == []


def test_bad_settings_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="as many hyperparameters as seeds, got 1 and 2"):
        lanes.stack([1, 2], [HYPER])
    with pytest.raises(ValueError, match="n_clusters: a lane asks for 4, the architecture has 3"):
        lanes.init(lanes.stack([1, 2], [HYPER, HYPER._replace(n_clusters=4)]), ARCHITECTURE)
    with pytest.raises(ValueError, match="balance: expected at least 0, at most 1, got 2"):
        lanes.stack([1], [HYPER._replace(balance=2)])
    with pytest.raises(ValueError, match="at least 2 rows to split, got 1"):
        Training().split_sizes(1)
    with pytest.raises(ValueError, match=r"validation_fraction: expected above 0, below 1, got 1\.5"):
        Training(validation_fraction=1.5)
    with pytest.raises(ValueError, match="latent_dim: expected a whole number, at least 1, got 0"):
        Architecture(3, latent_dim=0)
    with pytest.raises(ValueError, match="widths: expected one or more whole numbers"):
        Architecture(3, widths=())
    for name in ("batch_size", "pretraining_epochs", "epoch_batches"):
        with pytest.raises(ValueError, match=f"{name}: expected a whole number, at least 1, got 0"):
            Training(**{name: 0})
    with pytest.raises(ValueError, match="blocks: width: expected a whole number, at least 1, got 0"):
        Architecture(3, blocks=(Block("gaussian", 3), Block("categorical", 0)))


def test_a_padded_lane_without_its_padding_is_the_lane(x64):
    """And what a file holds of it comes back."""
    wide, narrow = Architecture(6, latent_dim=5, n_clusters=3, widths=(16,)), ARCHITECTURE
    stack = lanes.stack([1], HYPER)
    params = model.unpad(take_lane(lanes.init(stack, wide), 0), narrow)
    alone = take_lane(lanes.init(stack, narrow), 0)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(alone), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, **TOLERANCE)
    padded = take_lane(lanes.init(stack, wide), 0)
    for a, b in zip(jax.tree.leaves(model.pad(params, padded)), jax.tree.leaves(padded), strict=True):
        np.testing.assert_array_equal(a, b)
    diagonal = Mixture(jnp.zeros(3), jnp.ones((3, 2)), jnp.zeros((3, 2)))
    for mixture in (diagonal, diagonal._replace(shears=jnp.full((3, 2, 2), 0.5))):
        mixed = alone._replace(mixture=mixture)
        back = model.Parameters.from_arrays(mixed.to_arrays())
        assert jax.tree.structure(back) == jax.tree.structure(mixed)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(mixed), strict=True):
            np.testing.assert_array_equal(a, b)


def test_programs_are_kept_and_forgotten_before_their_room_runs_out(monkeypatch):
    """Every shape takes memory maps, of which a process has only so many; the results stay the same."""
    first = pretrain(lanes.stack([1], HYPER), layout="map", max_epochs=2)
    kept = dict(layout._programs)
    again = pretrain(lanes.stack([1], HYPER), layout="map", max_epochs=2)
    assert layout._programs.keys() == kept.keys()
    assert all(layout._programs[key] is program for key, program in kept.items())
    monkeypatch.setattr(layout, "MAPS_SHARE", 0.0)
    pretrain(lanes.stack([1], HYPER), layout="map", max_epochs=3)
    if Path("/proc/self/maps").exists():
        assert not layout._programs.keys() & kept.keys()
    monkeypatch.undo()
    third = pretrain(lanes.stack([1], HYPER), layout="map", max_epochs=2)
    for one in (again, third):
        np.testing.assert_array_equal(one.best_loss, first.best_loss)
