"""Hooks of a training: what each tells, and to whom."""

import gc
import io
import json
import os
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from jvade import hooks, interrupts
from jvade.core.lanes import Progress
from jvade.report.terminal import Terminal

BLOCKS = [
    Progress("pretraining", 0, 0, 9, np.array([True, True]), np.array([np.inf, np.inf])),
    Progress("pretraining", 0, 5, 9, np.array([True, False]), np.array([3.5, np.nan])),
]
WANT = [{"active": 2.0}, {"active": 1.0, "validation_loss/1": 3.5}]


def test_lines_of_json_are_added_to_those_there(tmp_path):
    path = tmp_path / "folder" / "metrics.jsonl"
    for block in BLOCKS:
        hooks.jsonl(path)(block)
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert told == [
        {"stage": "pretraining", "epoch": epoch} | want for epoch, want in zip((0, 5), WANT, strict=True)
    ]


def test_ctrl_c_in_the_garbage_collector_ends_the_training_after_the_block(monkeypatch):
    """Python prints what a callback of the collector raises, and goes on."""
    terminal = Terminal(Console(file=io.StringIO()))
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ctrl_c = lambda *_: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    try:
        with interrupts.remembered():
            hooks.show(terminal)(BLOCKS[0])
            gc.callbacks.append(ctrl_c)
            try:
                gc.collect()
            finally:
                gc.callbacks.remove(ctrl_c)
            assert [one.exc_type for one in lost] == [KeyboardInterrupt] * len(lost)
            assert lost
            with pytest.raises(KeyboardInterrupt):
                hooks.show(terminal)(BLOCKS[1])
        hooks.show(terminal)(BLOCKS[1])  # another command, in the same process
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def told(stage, begun, epoch):
    return Progress(stage, begun, epoch, 9, np.array([epoch < 9]), np.array([1.0]))


@pytest.mark.parametrize(
    ("before", "again"),
    [
        # In the second stage, which is taken up at a state before its last line.
        ([("one", 0, 0), ("one", 0, 9), ("two", 0, 0), ("two", 0, 3), ("two", 0, 6)], ("two", 3)),
        # At a state that was not told of any more.
        ([("one", 0, 0), ("one", 0, 9), ("two", 0, 0), ("two", 0, 3)], ("two", 6)),
        # In the first stage; and its state was lost altogether.
        ([("one", 0, 0), ("one", 0, 3), ("one", 0, 6)], ("one", 3)),
        ([("one", 0, 0), ("one", 0, 9), ("two", 0, 0)], ("one", 0)),
        # Both have ended.
        ([("one", 0, 0), ("one", 0, 9), ("two", 0, 0), ("two", 0, 9)], ("two", 9)),
    ],
)
def test_the_lines_of_a_training_that_was_stopped_are_those_of_one_that_was_not(tmp_path, before, again):
    path = tmp_path / "metrics.jsonl"
    first = hooks.jsonl(path)
    for one in before:
        first(told(*one))
    with path.open("a") as stream:
        stream.write('{"stage": "tw')  # killed while it wrote
    stage, begun = again
    hook = hooks.jsonl(path)
    if stage == "two":
        hook(told("one", 9, 9))
    for epoch in range(begun, 10, 3):
        hook(told(stage, begun, epoch))
    if stage == "one":
        for epoch in range(0, 10, 3):
            hook(told("two", 0, epoch))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    epochs = {stage: [one["epoch"] for one in lines if one["stage"] == stage] for stage in ("one", "two")}
    assert [one["stage"] for one in lines] == sorted(one["stage"] for one in lines)
    assert all(found == sorted(set(found)) for found in epochs.values())
    assert [found[-1] for found in epochs.values()] == [9, 9]


def test_every_hook_is_called_in_turn():
    seen = []
    hooks.every(lambda one: seen.append((1, one.epoch)), lambda one: seen.append((2, one.epoch)))(BLOCKS[1])
    assert seen == [(1, 5), (2, 5)]


def test_tensorboard_gets_events(tmp_path):
    pytest.importorskip("tensorboardX")
    hook = hooks.tensorboard(tmp_path)
    for block in BLOCKS:
        hook(block)
    (file,) = tmp_path.iterdir()
    for _ in range(100):  # a thread of its own writes them
        if b"pretraining/validation_loss/1" in (raw := file.read_bytes()):
            break
        time.sleep(0.1)
    assert b"pretraining/validation_loss/1" in raw
    assert b"validation_loss/2" not in raw


def test_mlflow_gets_metrics_by_step(monkeypatch):
    """A stand-in takes the calls: the package itself is no part of the tests."""
    calls = []
    stand_in = SimpleNamespace(log_metrics=lambda values, step: calls.append((step, values)))
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    hook = hooks.mlflow()
    for block in BLOCKS:
        hook(block)
    assert calls[1] == (5, {"pretraining/active": 1.0, "pretraining/validation_loss/1": 3.5})
