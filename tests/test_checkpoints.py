"""Training that is stopped and goes on: the same result as without the stop, nothing of another training."""

import logging
import threading

import jax
import numpy as np
import pytest

from jvade import checkpoints
from jvade.checkpoints import Checkpoints
from jvade.core import fit, lanes
from jvade.core.fit import MixtureStart
from jvade.core.settings import Architecture, Hyperparameters, Training

ARCHITECTURE = Architecture(4, 3, 2, (8,))
TRAINING = Training(batch_size=32, max_epochs=6, epoch_batches=3, block_epochs=2)
START = MixtureStart(n_rows=100, n_init=2, n_continued=1)


def run(keeper=None, stop=None):
    """Fit two lanes, of different latents; stop as ctrl-C does where a stage has come to an epoch."""
    x = jax.random.normal(jax.random.key(0), (160, 4))
    stack = lanes.stack([1, 2], [Hyperparameters(latent_dim=d, n_clusters=2) for d in (2, 3)])
    seen = []

    def on_block(progress):
        seen.append((progress.stage, progress.epoch))
        if stop == seen[-1]:
            raise KeyboardInterrupt

    return fit.fit(x, stack, ARCHITECTURE, TRAINING, START, on_block, keeper), seen


def test_what_orbax_logs_late_of_an_error_that_is_raised_is_not_written(caplog):
    """Its threads log an error after it was raised here; those of others are not waited for."""
    late, free = threading.Event(), threading.Event()

    def of_orbax():
        late.wait(0.3)
        logging.getLogger("absl").error("late words")

    threads = [
        threading.Thread(target=of_orbax, name="async_save"),
        threading.Thread(target=free.wait, args=(30,)),
    ]

    def save():
        with checkpoints._quiet():
            for thread in threads:
                thread.start()
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        save()
    assert not threads[0].is_alive()
    assert threads[1].is_alive()
    free.set()
    assert "late words" not in caplog.text
    logging.getLogger("absl").error("words of another day")
    assert "another day" in caplog.text


def assert_equal(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.bitwise
@pytest.mark.parametrize("stop", [("pretraining", 4), ("fine-tuning", 2)])
def test_a_stopped_training_goes_on_to_the_same_result(tmp_path, stop):
    whole, blocks = run()
    with pytest.raises(KeyboardInterrupt):
        run(Checkpoints(tmp_path / "kept", every=0), stop)
    resumed, seen = run(Checkpoints(tmp_path / "kept", every=0))
    assert_equal(resumed, whole)
    # What was finished is not trained again: each stage begins where it was.
    reached = {stop[0]: stop[1]} | ({"pretraining": 6} if stop[0] == "fine-tuning" else {})
    assert seen == [(stage, epoch) for stage, epoch in blocks if epoch >= reached.get(stage, 0)]


def test_a_checkpoint_waits_for_its_time_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("jvade.checkpoints.LONG", 3600.0)  # the end is kept of what took so many seconds
    kept = Checkpoints(tmp_path / "kept", every=3600)
    run(kept)
    assert not list(tmp_path.rglob("*"))
    now = Checkpoints(tmp_path / "kept", every=0)
    run(now)
    # One checkpoint of each stage, the last.
    assert sorted(path.name for path in (tmp_path / "kept").glob("*/*")) == ["6", "6"]


def test_half_a_checkpoint_is_none(tmp_path):
    """A save that was killed leaves a folder without its end mark: the one before counts."""
    whole, _ = run()
    with pytest.raises(KeyboardInterrupt):
        run(Checkpoints(tmp_path / "kept", every=0), ("pretraining", 2))
    (last,) = (tmp_path / "kept").glob("pretraining-*/2")
    torn = last.with_name("4.orbax-checkpoint-tmp-1")
    torn.mkdir()
    (torn / "half").write_text("half")
    resumed, seen = run(Checkpoints(tmp_path / "kept", every=0))
    assert seen[0] == ("pretraining", 2)
    assert_equal(resumed, whole)
    # Files that a power cut left empty are no checkpoint either: the stage begins anew.
    for file in last.parent.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match="the kept state of the pretraining cannot be read"):
        again, seen = run(Checkpoints(tmp_path / "kept", every=0))
    assert seen[0] == ("pretraining", 0)
    assert_equal(again, whole)
    # It is not thrown away: a person may know better.
    assert len(list((tmp_path / "kept").glob("unreadable-1-pretraining-*"))) == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(5, "an error of the disk"), jax.errors.JaxRuntimeError()]
)
def test_what_is_no_fault_of_a_checkpoint_leaves_it_there(tmp_path, monkeypatch, error):
    from orbax.checkpoint import v1 as orbax

    with pytest.raises(KeyboardInterrupt):
        run(Checkpoints(tmp_path / "kept", every=0), ("pretraining", 2))
    with monkeypatch.context() as patched:

        def fail(*_):
            raise error

        patched.setattr(orbax.training.Checkpointer, "load", fail)
        with pytest.raises(type(error)):
            run(Checkpoints(tmp_path / "kept", every=0))
    _, seen = run(Checkpoints(tmp_path / "kept", every=0))
    assert seen[0] == ("pretraining", 2)


def test_the_end_of_a_long_stage_is_kept_whenever_the_last_checkpoint_was(tmp_path):
    kept = Checkpoints(tmp_path / "kept", every=1000.0)
    kept._began -= 1000.0  # so long ago
    run(kept)
    assert sorted(path.name for path in (tmp_path / "kept").glob("*/*")) == ["6", "6"]


def test_trainings_of_other_shapes_are_kept_beside_each_other(tmp_path):
    """The lanes of one width and those of another are one stage, one after the other."""
    x = jax.random.normal(jax.random.key(0), (160, 4))
    kept = tmp_path / "kept"

    def train(latents, keeper, seen=None):
        stack = lanes.stack([1], [Hyperparameters(latent_dim=latents, n_clusters=2)])
        architecture = Architecture(4, latents, 2, (8,))
        start = lanes.init(stack, architecture)
        return lanes.train(x, start, stack, "pretraining", architecture, TRAINING, seen, keeper)

    first = [train(latents, Checkpoints(kept, every=0)) for latents in (2, 3)]
    for latents, whole in zip((2, 3), first, strict=True):
        seen = []
        again = train(
            latents,
            Checkpoints(kept, every=0),
            lambda progress, seen=seen: seen.append((progress.begun, progress.epoch)),
        )
        assert seen == [(6, 6)]
        assert_equal(again, whole)


def test_the_time_of_all_runs_counts(tmp_path):
    assert Checkpoints(tmp_path / "kept").seconds == 0
    with pytest.raises(KeyboardInterrupt):
        run(Checkpoints(tmp_path / "kept", every=0), ("pretraining", 4))
    first = Checkpoints(tmp_path / "kept").seconds
    assert first > 0
    run(Checkpoints(tmp_path / "kept", every=0))
    assert Checkpoints(tmp_path / "kept").seconds > first
    (tmp_path / "kept" / "seconds").write_text("half a num")
    assert Checkpoints(tmp_path / "kept").seconds == 0
