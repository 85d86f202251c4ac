"""Lanes, or the rows of one lane, parted among devices: the results of one device."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import devices
import jax
import numpy as np
import pytest

from jvade.core import layout
from jvade.core.layout import place, spread_rows

SCRIPT, SRC = Path(devices.__file__), Path(__file__).parents[2] / "src"
TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}  # of double precision; sums are taken in another order


def begin(*words: object) -> subprocess.Popen:
    """Start the script with these words."""
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    return subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, words)], env=environment, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def assert_equal(path: Path, found: object) -> None:
    """Compare what the script kept with what one device of this process gives."""
    want = devices.arrays(found)
    with np.load(path) as kept:
        assert set(kept.files) == set(want)
        for name, array in want.items():
            np.testing.assert_allclose(kept[name].astype(float), array.astype(float), **TOLERANCE)


def test_four_devices_train_what_one_trains(x64, tmp_path):
    """One lane, whose rows all share, and three lanes, parted in two, one of which stops early."""
    other = begin(tmp_path / "four.npz", 4)
    found = {"one lane": devices.finetune(1), "three lanes": devices.finetune(3)}
    end(other)
    assert found["three lanes"].n_epochs.tolist()[1] < 6
    assert_equal(tmp_path / "four.npz", found)


@pytest.mark.long
def test_two_processes_train_one_model_as_one_does(x64, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    files = [tmp_path / f"{i}.npz" for i in range(2)]
    both = [begin(file, 1, i, address) for i, file in enumerate(files)]
    found = devices.whole(1)
    for process in both:
        end(process)
    for file in files:
        assert_equal(file, found)


@pytest.mark.parametrize(
    ("n_lanes", "n_devices", "grid"), [(1, 4, (1, 4)), (3, 4, (2, 2)), (5, 4, (4, 1)), (35, 8, (8, 1))]
)
def test_devices_are_parted_among_lanes_first(monkeypatch, n_lanes, n_devices, grid):
    monkeypatch.setattr(jax, "device_count", lambda: n_devices)
    assert layout._grid(n_lanes) == grid


def test_one_device_is_left_alone():
    x = jax.numpy.ones((3, 2))
    assert place(x, "vmap") is x
    assert spread_rows(x, 0) is x
