"""SIGKILL at random moments: a fit loses a block at most, never its state, and ends as an unkilled one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jvade import model_file

SRC = Path(__file__).parents[1] / "src"
#: A checkpoint after every block, so that there is much to be caught in.
CODE = "from jvade import checkpoints; checkpoints.EVERY = 0.0; from jvade.cli import main; main()"
STAGES, N_EPOCHS = ("pretraining", "fine-tuning"), 40


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """Return what starts a fit to three groups of rows, into a folder; and the folder of an unkilled one."""
    folder = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 6))[rng.integers(0, 3, 1500)]
    pd.DataFrame(centers + rng.normal(size=(1500, 6)), columns=list("abcdef")).to_csv(
        folder / "rows.csv", index=False
    )
    words = ["fit", "--table", folder / "rows.csv", "--n-clusters", "3", "--n-runs", "2", "--widths", "16"]
    words += [
        "--training.max-epochs",
        str(N_EPOCHS),
        "--training.block-epochs",
        "2",
        "--model.patience",
        "40",
    ]

    def start(out):
        command = [sys.executable, "-c", CODE, *map(str, words), "--out", str(out)]
        environment = os.environ | {"PYTHONPATH": str(SRC)}
        with out.with_suffix(".log").open("a") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    assert start(folder / "whole").wait() == 0, (folder / "whole.log").read_text()
    return start, folder / "whole"


def progress(out):
    """Return the stages and epochs that have been told of."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    told = [json.loads(line) for line in lines]
    return [(STAGES.index(one["stage"]), one["epoch"]) for one in told]


def assert_same_model(one, two):
    (says, arrays), (says_too, arrays_too) = (model_file._read(path / "model.jvade") for path in (one, two))
    assert arrays.keys() == arrays_too.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, arrays_too[name])
    assert says["health"] == says_too["health"]
    assert says["history"] == says_too["history"]


def kill_and_resume(start, out, after):
    """Kill a fit after so many lines of its course each time, and start it again; then let it end.

    Args:
        start: starts it.
        out: its folder.
        after: lines that it may tell before it is killed.

    Returns:
        The stages that it was killed in.
    """
    stages, reached = [], (0, 0)
    for n_lines in [*after, None]:
        before = len(progress(out))
        process = start(out)
        while process.poll() is None:
            if n_lines is not None and len(progress(out)) - before >= n_lines:
                process.kill()
                process.wait()
            time.sleep(0.01)
        told = progress(out)
        assert process.returncode in (0, -9), out.with_suffix(".log").read_text()
        if len(told) > before:
            # What was told of had been kept: it goes on from there, or from the stage after.
            assert max(told[before : before + 2]) >= reached or reached[1] == N_EPOCHS
            reached = max(told)
        if (out / "model.jvade").exists():
            model_file.load(out / "model.jvade")  # whole, or refused
        if process.returncode == 0:
            break
        stages.append(reached[0])
    return stages


def test_killed_a_few_times(fit, tmp_path):
    """Twice in the pretraining, once in the fine-tuning."""
    start, whole = fit
    stages = kill_and_resume(start, tmp_path / "out", (4, 6, 20))
    assert (len(stages), set(stages)) == (3, {0, 1})
    assert_same_model(tmp_path / "out", whole)
    assert not list((tmp_path / "out").rglob(".unfinished*"))


@pytest.mark.long
def test_killed_fifty_times(fit, tmp_path):
    """At random, in the imports and at the end too."""
    start, whole = fit
    rng, stages, n_fits = np.random.default_rng(0), [], 0
    while len(stages) < 50:
        n_fits += 1
        stages += kill_and_resume(start, tmp_path / str(n_fits), rng.integers(0, 14, 5))
        assert_same_model(tmp_path / str(n_fits), whole)
    print(f"killed {len(stages)} times over {n_fits} fits, {sum(stages)} times in the fine-tuning")
    assert 0 < sum(stages) < len(stages)
