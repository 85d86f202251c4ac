"""What `jvade inspect` and `jvade doctor` do: look at a model, and at the machine."""

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jvade import clustering, manifest, model_file
from jvade.clustering import Configuration
from jvade.commands.fit import ConfigurationName
from jvade.core.lanes import Progress
from jvade.data.errors import InputError
from jvade.estimator import NAMED
from jvade.paper.settings import below
from jvade.report.terminal import Terminal

#: Rows of the short training that `doctor` times, and epochs of each of its stages.
TIMED_ROWS, TIMED_EPOCHS = 32_768, 4
#: Rows that it has at least, or the mixtures have too few.
FEWEST_ROWS = 256
#: Bytes that a fit holds beside the rows, and copies of the matrix (float32) at its peak, the table it is
#: made of among them: `jvade fit --visits`, 39 columns, took 1.5, 2.1 and 5.2 GB for 0.2, 1 and 3.65 million.
FIXED_BYTES, COPIES = 1.3e9, 7.0


def inspect(model: Path, as_json: bool) -> None:
    """Print the card of a model file, or all that it says of itself as JSON.

    Raises:
        InputError: the file is no model, or was changed.
    """
    description = model_file.describe(model)
    print(json.dumps(description, indent=1) if as_json else model_file.card(description))


@dataclass(frozen=True)
class DoctorSettings:
    """Say what this machine has, and what a fit of some size will take on it.

    Args:
        rows: rows of the fit.
        columns: columns of its matrix: a number or a 0/1 column is one, each category is one.
        configuration: see `jvade fit`.
        quick: leave out the short training that the time is told from.
        json: for a machine to read.
    """

    rows: int = 3_650_000
    columns: int = 38
    configuration: ConfigurationName = "robust"
    quick: bool = False
    json: bool = False


def doctor(settings: DoctorSettings, terminal: Terminal) -> None:
    """Print what the machine has and what a fit will take.

    Raises:
        InputError: no rows or no columns.
    """
    sizes = {"--rows": settings.rows, "--columns": settings.columns}
    if problems := below({flag: (value, 1) for flag, value in sizes.items()}):
        raise InputError(problems, "settings")
    found: dict[str, Any] = {"versions": manifest.versions(), "device": manifest.device()}
    memory, needed = _memory(), FIXED_BYTES + COPIES * 4 * settings.rows * settings.columns
    found |= {"memory_gb": memory, "needs": {"memory_gb": round(needed / 1e9, 1)}}
    if not settings.quick:
        named = NAMED[settings.configuration]
        training, n_rows = named.training.for_rows(settings.rows), max(settings.rows, 2)
        n_timed = max(min(n_rows, TIMED_ROWS), FEWEST_ROWS)
        compilation, seconds = time_epochs(replace(named, training=training), n_timed, settings.columns)
        taken, timed = (training.epoch_sizes(n)[0] for n in (n_rows, n_timed))
        epochs = {stage: training.of_stage(stage == "pretraining").max_epochs for stage in seconds}
        whole = sum(seconds[stage] * epochs[stage] * taken / timed for stage in seconds)
        found["needs"] |= {"seconds_at_most": round(whole), "compilation_seconds": round(compilation)}
    found["asked"] = asdict(settings)
    if settings.json:
        print(json.dumps(found, indent=1))
        return
    for name, version in found["versions"].items():
        terminal.say(f"{name} {version}")
    device = found["device"]
    cores = f"{device['cpus']} CPU cores"
    others = f"{device['count']} x {device['kind']} ({device['platform']}), {cores}"
    terminal.say(cores if device["platform"] == "cpu" else others)
    terminal.say("memory: unknown" if memory is None else f"memory: {memory:.1f} GB")
    needs = found["needs"]
    what = f"a fit of {settings.rows:,} rows x {settings.columns} columns ({settings.configuration})"
    terminal.say(f"{what}: about {needs['memory_gb']:.1f} GB")
    if "seconds_at_most" in needs:
        minutes = needs["seconds_at_most"] / 60
        long = f"{minutes:.0f} min" if minutes >= 2 else f"{needs['seconds_at_most']} s"
        terminal.say(
            f"  and at most {long} of training, if every run uses all of its epochs, after some"
            f" {needs['compilation_seconds']} s of compilation; beside the start of the mixtures, and placing"
            " every row"
        )
    if memory is not None and needed > memory * 1e9:
        terminal.say(
            "  warning: that is more than there is; fit to a random part, and predict the rest", "yellow"
        )


def _memory() -> float | None:
    """Return the memory of this machine, 10^9 bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None


def time_epochs(configuration: Configuration, n_rows: int, n_columns: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of compilation, and of an epoch over so many rows, all runs, by stage."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, n_columns)).astype(np.float32)
    x[:, 4:] = x[:, 4:] > 1  # a few numbers, then 0/1 columns, nearly as visits
    marks: dict[str, list[float]] = {}

    def mark(progress: Progress) -> None:
        marks.setdefault(progress.stage, []).append(time.perf_counter())

    training = replace(configuration.training, max_epochs=TIMED_EPOCHS, block_epochs=1)
    clustering.cluster(x, 7, 0, replace(configuration, training=training), mark)
    # The first epoch is compiled first.
    first = {stage: float(np.diff(times)[0]) for stage, times in marks.items()}
    later = {stage: float(np.median(np.diff(times)[1:])) for stage, times in marks.items()}
    return max(sum(first.values()) - sum(later.values()), 0.0), later
