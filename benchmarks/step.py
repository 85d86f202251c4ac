"""Where the time of a training step goes: seconds of every compiled program of one lane, by what it is for.

    .venv/bin/python benchmarks/step.py --out benchmarks/results/step.json

One lane of the study's settings, or of `robust`, trains a few epochs on a simulated district; XLA's profiler
tells what each of its programs took. What is left of the wall time lies between them. Where two devices share
the lane, as they do with a long one, what is told is a core's time for a step. Of many lanes, as many train
at a time as there are cores: a core's time for a step of one of them, the mean over the study's numbers of
latents.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import programs
import quality
import report
from throughput import LATENT_DIMS

from jvade import clustering
from jvade.core import epoch, lanes, layout
from jvade.core.layout import THREADS, take_lane
from jvade.core.mixture import Mixture

#: What a program is for, by what stands in the name that JAX gave its operation; the first that fits.
KINDS = {
    "sum over the devices, and waiting for it": r"psum",
    "layers, beside their products": r"Encoder|Decoder",
    "objective and its gradient": r"jvp",
    "rows, noise and what is hidden": r"gather|shuffle|random|threefry|vmap|bits|shift|xor",
}
PRODUCTS, REST, BETWEEN = "products", "optimizer, sums, scoring but its layers", "between programs"


def purposes(program: str) -> dict[str, str]:
    """Return what each instruction of a compiled program is for, but loops, which hold others."""
    bodies = re.split(r"\n\n", program)
    with_products = {
        found[1] for body in bodies if (found := re.match(r"%(\S+) \(", body)) and " dot(" in body
    }
    kinds = {}
    for line in program.splitlines():
        found = re.match(r"\s+(?:ROOT )?%(\S+) = (?:\(.*?\)|\S+) ([\w-]+)\(", line)
        if not found or found[2] in ("while", "call", "conditional"):
            continue
        called = re.search(r"calls=%([\w.-]+)", line)
        if found[2] == "dot" or (called and called[1] in with_products):
            kinds[found[1]] = PRODUCTS
            continue
        name = re.search(r'op_name="([^"]*)"', line)
        fits = (kind for kind, pattern in KINDS.items() if name and re.search(pattern, name[1]))
        kinds[found[1]] = next(fits, REST)
    return kinds


def profiles(
    x: np.ndarray,
    configuration: clustering.Configuration,
    stage: str,
    n_lanes: int,
    is_shared: bool,
    options: argparse.Namespace,
) -> list[dict[str, float]]:
    """Return microseconds of a core for a step of a lane, by what they are for and in all, of every repeat.

    One lane may use all cores, or is shared by all devices; several have a core each.
    """
    training = replace(configuration.training, max_epochs=options.epochs, pretraining_epochs=options.epochs)
    stack = lanes.stack(range(n_lanes), configuration.model)
    architecture = configuration.architecture(x, quality.blocks(quality.STUDY_INPUTS))
    params = lanes.init(stack, architecture)
    if stage == "fine-tuning":
        shape = n_lanes, architecture.n_clusters, architecture.latent_dim
        means = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
        params = params._replace(mixture=Mixture(jnp.zeros(shape[:2]), means, jnp.full(shape, -1.0)))
    block = layout.on_all_devices(epoch.run_block, (0, None, 0, None)) if is_shared else epoch.run_block
    run = jax.jit(block, static_argnames=("architecture", "training"))
    rows, until, each = jnp.asarray(x), jnp.asarray(options.epochs), []
    for i in range(n_lanes):
        lane = take_lane(stack, i)
        state = epoch.start(take_lane(params, i), lane, stage, training)
        if is_shared:
            state, lane = jax.tree.map(lambda leaf: leaf[None], (state, lane))
            each.append(layout.place((state, rows, lane, until), "vmap"))
        else:
            each.append((state, rows, lane, until))
    program = run.lower(*each[0], architecture=architecture, training=training).compile()
    kinds = purposes(program.as_text() or "")
    n_cores = jax.device_count() if is_shared else min(n_lanes, THREADS)
    n_steps = training.most_steps(len(x)) * (n_cores if is_shared else n_lanes)
    with ThreadPoolExecutor(len(each)) as pool:

        def call() -> float:
            begin = time.perf_counter()
            list(pool.map(lambda given: jax.block_until_ready(program(*given)), each))
            return time.perf_counter() - begin

        call()
        return [
            {name: microseconds / n_steps for name, microseconds in spent(call, kinds, n_cores).items()}
            for _ in range(options.repeats)
        ]


def spent(call: Callable[[], float], kinds: dict[str, str], n_cores: int) -> dict[str, float]:
    """Return microseconds of all cores in a call, by what they are for, and in all."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            whole = 1e6 * call() * n_cores
        (file,) = Path(folder).rglob("*.xplane.pb")
        found = Counter[str]()
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for event in (event for line in plane.lines for event in line.events):
                if event.name in kinds:
                    found[kinds[event.name]] += event.duration_ns / 1e3
    return dict(found.most_common()) | {BETWEEN: whole - sum(found.values()), "in all": whole}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Where the time of a training step goes.")
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    layout.part_cpu()  # as our commands do
    x, found = quality.draw(options.visits, 101).x, {}
    many = [
        replace(clustering.PAPER, model=clustering.PAPER.model._replace(latent_dim=d)) for d in LATENT_DIMS
    ]
    cases: dict[str, tuple[Sequence[clustering.Configuration], int, bool]] = {
        "the study": ([clustering.PAPER], 1, False),
        "the study on two devices": ([clustering.PAPER], 1, True),
        "robust": ([clustering.ROBUST], 1, False),
        "35 lanes of the study": (many, THREADS, False),
    }
    for name, (configurations, n_lanes, is_shared) in cases.items():
        if is_shared and not layout.cpu_is_parted():
            continue
        for stage in programs.STAGES:
            each = [profiles(x, one, stage, n_lanes, is_shared, options) for one in configurations]
            repeats = [
                {kind: float(np.mean([run.get(kind, 0.0) for run in runs])) for kind in runs[0]}
                for runs in zip(*each, strict=True)
            ]
            kinds = {kind: [run.get(kind, 0.0) for run in repeats] for kind in repeats[0]}
            found[f"{name}, {stage}"] = {kind: report.spread(values) for kind, values in kinds.items()}
            print(f"{name}, {stage}", {k: round(v["median"]) for k, v in found[f"{name}, {stage}"].items()})
    report.write("benchmarks/step.py", options, {"microseconds": found}, options.out)


if __name__ == "__main__":
    main()
