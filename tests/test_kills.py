"""SIGKILL at random and at chosen moments: a fit loses a block at most, never its state.

It goes on where the last block was told of, and ends as one that nothing stopped.
"""

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

pytestmark = pytest.mark.long

SRC = Path(__file__).parents[1] / "src"
#: A checkpoint after every block, so that there is much to be caught in. `COURSE` is told where each stage
#: was taken up, `KILL` names the function at whose call the process is to die.
CODE = """
import importlib, os, signal
from jvade import checkpoints, hooks
checkpoints.EVERY = 0.0
show = hooks.show

def course(progress):
    if progress.epoch == progress.begun:
        with open(os.environ["COURSE"], "a") as file:
            file.write(f"{progress.stage} {progress.begun}\\n")

hooks.show = lambda terminal: hooks.every(show(terminal), course)
if os.environ.get("KILL"):
    module, name = os.environ["KILL"].rsplit(":")
    owner = importlib.import_module(module)
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    setattr(owner, name.split(".")[-1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from jvade.cli import main
main()
"""
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

    def start(out, kill=""):
        command = [sys.executable, "-c", CODE, *map(str, words), "--out", str(out)]
        environment = os.environ | {"PYTHONPATH": str(SRC), "KILL": kill}
        environment |= {"COURSE": str(out.with_suffix(".course"))}
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


def taken_up(out):
    """Return the stages and the epochs they were taken up at, over all runs."""
    path = out.with_suffix(".course")
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(STAGES.index(stage), int(epoch)) for stage, epoch in lines]


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
    stages = []
    for n_lines in [*after, None]:
        told, runs = progress(out), len(taken_up(out))
        process = start(out)
        while process.poll() is None:
            if n_lines is not None and len(progress(out)) - len(told) >= n_lines:
                process.kill()
                process.wait()
            time.sleep(0.01)
        assert process.returncode in (0, -9), out.with_suffix(".log").read_text()
        begun = dict(taken_up(out)[runs:])
        for stage in begun:
            # What was told of had been kept: the stage goes on from there, or from a block after it that
            # was kept and not told of any more.
            epochs = [epoch for one, epoch in told if one == stage]
            assert begun[stage] - max(epochs, default=0) in (0, 2), (begun, told[-1])
        if (out / "model.jvade").exists():
            model_file.load(out / "model.jvade")  # whole, or refused
        if process.returncode == 0:
            break
        stages.append(max(progress(out), default=(0, 0))[0])
    # The course is that of one fit, whatever it took.
    whole = [(stage, epoch) for stage in (0, 1) for epoch in range(0, N_EPOCHS + 1, 2)]
    assert progress(out) == whole
    return stages


def test_killed_a_few_times(fit, tmp_path):
    """Twice in the pretraining, once in the fine-tuning."""
    start, whole = fit
    stages = kill_and_resume(start, tmp_path / "out", (4, 6, 20))
    assert (len(stages), set(stages)) == (3, {0, 1})
    assert_same_model(tmp_path / "out", whole)
    assert not list((tmp_path / "out").rglob(".unfinished*"))


def test_killed_when_the_training_is_over(fit, tmp_path):
    """At the look at the result; before labels, model, card, manifest; before the states go: nothing lost."""
    start, whole = fit
    out = tmp_path / "out"
    places = ("health:examine", "report.folder:RunFolder.file", "model_file:save", "model_file:card")
    places += ("report.folder:RunFolder.finish", "checkpoints:remove")
    for place in places:
        process = start(out, f"jvade.{place}")
        assert process.wait() == -9, out.with_suffix(".log").read_text()
        assert (out / "run.json").exists() == (place == places[-1])
        assert (out / "model.jvade").exists() == (place in places[3:])
    assert start(out).wait() == 0
    ends = [(0, N_EPOCHS), (1, N_EPOCHS)]
    assert taken_up(out) == [(0, 0), (1, 0), *ends * len(places)]
    assert_same_model(out, whole)
    assert not (out / "private" / "checkpoints").exists()


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
