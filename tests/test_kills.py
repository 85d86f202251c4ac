"""SIGKILL at random moments: a fit loses a block at most, never its state, and ends as an unkilled one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jvade import model_file

SRC = Path(__file__).parents[1] / "src"
#: A checkpoint after every block, so that there is much to be caught in.
CODE = "from jvade import checkpoints; checkpoints.EVERY = 0.0; from jvade.cli import main; main()"
STAGES = ("pretraining", "fine-tuning")


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
    words += ["--training.max-epochs", "40", "--training.block-epochs", "2", "--model.patience", "40"]

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


def kill_and_resume(start, out, n_kills, longest):
    """Kill a fit at random moments and start it again, until it has been killed often enough; let it end."""
    rng, n_killed, reached = np.random.default_rng(n_kills), 0, (0, 0)
    while True:
        before = len(progress(out))
        process = start(out)
        try:
            killed = n_killed < n_kills
            process.wait(timeout=float(rng.uniform(1, longest)) if killed else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            n_killed += 1
        told = progress(out)
        if len(told) > before:
            # What was told of had been kept: it goes on from there, or from the stage after.
            begun = max(told[before : before + 2])
            assert begun >= reached or reached[1] == 40, (begun, reached)
            reached = max(told)
        done = (out / "model.jvade").exists()
        if done:
            model_file.load(out / "model.jvade")  # whole, or refused
        if process.returncode == 0:
            return n_killed
        assert process.returncode == -9, out.with_suffix(".log").read_text()
        if done:  # killed after its end: begin anew
            (out / "model.jvade").unlink()
            (out / "metrics.jsonl").unlink(missing_ok=True)
            reached = (0, 0)


def test_killed_a_few_times(fit, tmp_path):
    start, whole = fit
    assert kill_and_resume(start, tmp_path / "out", 3, 12) == 3
    assert_same_model(tmp_path / "out", whole)
    assert not list((tmp_path / "out").rglob(".unfinished*"))


@pytest.mark.long
def test_killed_fifty_times(fit, tmp_path):
    start, whole = fit
    n_killed = 0
    for i in range(100):
        n_killed += kill_and_resume(start, tmp_path / str(i), 5, 12)
        assert_same_model(tmp_path / str(i), whole)
        if n_killed >= 50:
            break
    print(f"killed {n_killed} times over {i + 1} fits")
    assert n_killed >= 50
