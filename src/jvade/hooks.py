"""What can be told of a training after every block of epochs: to a terminal, a file, a tracker.

A hook is a function of a `Progress`; `on_block` of every training takes one, `every` makes one of several.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jvade import atomic
from jvade.core.lanes import Progress
from jvade.report.terminal import Terminal

Hook = Callable[[Progress], None]
#: Name of the file of lines of JSON in the folder of a run.
METRICS = "metrics.jsonl"


def every(*hooks: Hook) -> Hook:
    """Return the hook that calls each of these."""

    def on_block(progress: Progress) -> None:
        for hook in hooks:
            hook(progress)

    return on_block


def show(terminal: Terminal) -> Hook:
    """Return what says on a terminal how far the lanes are."""

    def on_block(progress: Progress) -> None:
        words = f"epochs, {int(progress.active.sum())} of {len(progress.active)} lanes at work"
        if np.isfinite(progress.validation_loss).all():
            words += f", best validation loss {progress.validation_loss.min():.3f}"
        terminal.progress(progress.stage, progress.epoch, progress.max_epochs, words, progress.begun)

    return on_block


def values(progress: Progress) -> dict[str, float]:
    """Return what a tracker plots: lanes at work, and the best validation loss of each so far."""
    losses = {
        f"validation_loss/{lane + 1}": float(loss) for lane, loss in enumerate(progress.validation_loss)
    }
    known = {name: loss for name, loss in losses.items() if np.isfinite(loss)}
    return {"active": float(progress.active.sum())} | known


def jsonl(path: Path) -> Hook:
    """Return what keeps a file of lines of JSON: stage, epoch and `values`, a line for each block.

    Where a training that was stopped goes on, the lines of what is trained again are written anew, in their
    places: the file is that of a training that nothing stopped.
    """

    def on_block(progress: Progress) -> None:
        line = json.dumps({"stage": progress.stage, "epoch": progress.epoch} | values(progress))
        told = _told(path)
        own = [i for i, (stage, _, _) in enumerate(told) if stage == progress.stage]
        end = own[-1] + 1 if own else len(told)
        place = next((i for i in own if told[i][1] >= progress.epoch), end)
        after = [text for stage, _, text in told[place:] if stage != progress.stage]
        lines = [*(text for _, _, text in told[:place]), line, *after]
        text = "".join(f"{one}\n" for one in lines)
        atomic.write(path, lambda file: file.write_text(text, encoding="utf-8"))

    return on_block


def _told(path: Path) -> list[tuple[str, int, str]]:
    """Return stage, epoch and text of each line of a file, but of one that is no whole line."""
    told = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError, KeyError):
            one = json.loads(line)
            told.append((str(one["stage"]), int(one["epoch"]), line))
    return told


def tensorboard(folder: Path) -> Hook:
    """Return what writes scalars for TensorBoard; needs the extra `tensorboard`."""
    from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

    # Its own `flush` does not wait for what is still queued.
    writer = SummaryWriter(str(folder), flush_secs=1)

    def on_block(progress: Progress) -> None:
        for name, value in values(progress).items():
            writer.add_scalar(f"{progress.stage}/{name}", value, progress.epoch)

    return on_block


def mlflow() -> Hook:
    """Return what logs metrics to the MLflow run at work, or to a new one; needs the extra `mlflow`."""
    import mlflow as tracker  # pyright: ignore[reportMissingImports]

    def on_block(progress: Progress) -> None:
        named: dict[str, Any] = {
            f"{progress.stage}/{name}": value for name, value in values(progress).items()
        }
        tracker.log_metrics(named, step=progress.epoch)

    return on_block
