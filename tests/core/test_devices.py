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

from jvade.core import lanes, layout
from jvade.core.layout import place, spread_rows, take_lane
from jvade.core.settings import Architecture, Hyperparameters, Training

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


def test_several_devices_train_what_one_trains(x64, tmp_path):
    files = {n: tmp_path / f"{n}.npz" for n in (2, 4)}
    others = [begin(file, n) for n, file in files.items()]
    one, two = devices.finetune(1), devices.finetune(2, layout="map")
    three = devices.finetune(3, **devices.PART)
    for process in others:
        end(process)
    for found in (two, three):
        assert found.n_epochs.tolist()[1] < 4  # a block before the end, and more
    both = {"two lanes": two, "two lanes alone": two}
    assert_equal(files[2], both | {"one lane alone": one})
    assert_equal(files[4], both | {"one lane": one, "three lanes": three})


@pytest.mark.long
def test_two_processes_train_one_model_as_one_does(x64, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    files = [tmp_path / f"{i}.npz" for i in range(2)]
    both = [begin(file, 1, i, address) for i, file in enumerate(files)]
    found = {"both stages": devices.whole(1), "two lanes alone": devices.finetune(2, layout="map")}
    for process in both:
        end(process)
    for file in files:
        assert_equal(file, found)


@pytest.mark.parametrize(
    ("n_lanes", "steps", "widths", "is_worth_it"),
    [
        (2, 20_000, (256,), True),
        (2, 19_900, (256,), False),
        (2, 20_000, (128,), False),
        (2, 20_000, (2000,), False),
        (1, 6_000, (256,), True),
        (1, 5_900, (256,), False),
    ],
)
def test_long_trainings_of_the_studys_size_are_worth_sharing(n_lanes, steps, widths, is_worth_it):
    params = lanes.init(lanes.stack([0], Hyperparameters()), Architecture(38, latent_dim=2, widths=widths))
    training = Training(max_epochs=steps // 100, validation_fraction=0.5)
    assert lanes._is_worth_sharing(take_lane(params, 0), 2 * 100 * 1024, training, n_lanes) == is_worth_it


@pytest.mark.parametrize(("flags", "n_devices"), [("", 2), ("--xla_force_host_platform_device_count=3", 3)])
def test_a_cpu_is_parted_unless_a_person_has_said_how(flags, n_devices):
    ask = "import jax; from jvade.core import layout; layout.THREADS = 2; layout.part_cpu()"
    words = [sys.executable, "-c", f"{ask}; print(jax.device_count())"]
    environment = os.environ | {"PYTHONPATH": str(SRC), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_NUM_CPU_DEVICES", None)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == n_devices


def test_a_cpu_in_use_is_left_as_it_is():
    before = jax.device_count(), jax.config.jax_num_cpu_devices
    layout.part_cpu()
    assert (jax.device_count(), jax.config.jax_num_cpu_devices) == before


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
