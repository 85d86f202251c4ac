"""Where the time of a training step goes: seconds of every compiled program of one lane, by what it is for.

    .venv/bin/python benchmarks/step.py --out benchmarks/results/step.json

One lane of the study's settings, or of `robust`, trains a few epochs on a simulated district; XLA's profiler
tells what each of its programs took. What is left of the wall time lies between them.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import quality
import report

from jvade import clustering
from jvade.core import epoch, lanes
from jvade.core.layout import take_lane
from jvade.core.mixture import Mixture

#: What a program is for, by what stands in the name that JAX gave its operation; the first that fits.
KINDS = {
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


def profile(
    x: np.ndarray, configuration: clustering.Configuration, stage: str, n_epochs: int
) -> dict[str, float]:
    """Return microseconds of a step by what they are for, and in all."""
    training = replace(configuration.training, max_epochs=n_epochs, pretraining_epochs=n_epochs)
    stack = lanes.stack([0], configuration.model)
    architecture = configuration.architecture(x, quality.blocks(quality.STUDY_INPUTS))
    params = lanes.init(stack, architecture)
    if stage == "fine-tuning":
        shape = 1, architecture.n_clusters, architecture.latent_dim
        means = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
        params = params._replace(mixture=Mixture(jnp.zeros(shape[:2]), means, jnp.full(shape, -1.0)))
    lane = take_lane(stack, 0)
    state = epoch.start(take_lane(params, 0), lane, stage, training)
    run = jax.jit(epoch.run_block, static_argnames=("architecture", "training"))
    given = state, jnp.asarray(x), lane, jnp.asarray(n_epochs)
    program = run.lower(*given, architecture=architecture, training=training).compile()
    jax.block_until_ready(program(*given))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            begin = time.perf_counter()
            jax.block_until_ready(program(*given))
            seconds = time.perf_counter() - begin
        (file,) = Path(folder).rglob("*.xplane.pb")
        planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
        kinds, spent = purposes(program.as_text() or ""), Counter[str]()
        for event in (event for plane in planes for line in plane.lines for event in line.events):
            if event.name in kinds:
                spent[kinds[event.name]] += event.duration_ns / 1e3
    n_taken, _ = training.epoch_sizes(len(x))
    n_steps = n_epochs * -(-n_taken // training.batch_size)
    whole = 1e6 * seconds
    found = dict(spent.most_common()) | {BETWEEN: whole - sum(spent.values()), "in all": whole}
    return {name: microseconds / n_steps for name, microseconds in found.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Where the time of a training step goes.")
    parser.add_argument("--visits", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cohort, found = quality.draw(options.visits, 101), {}
    for name, configuration in {"the study": clustering.PAPER, "robust": clustering.ROBUST}.items():
        for stage in ("pretraining", "fine-tuning"):
            runs = [profile(cohort.x, configuration, stage, options.epochs) for _ in range(options.repeats)]
            each = {kind: report.spread([run.get(kind, 0.0) for run in runs]) for kind in runs[0]}
            found[f"{name}, {stage}"] = each
            print(f"{name}, {stage}", {kind: round(one["median"]) for kind, one in each.items()}, flush=True)
    report.write("benchmarks/step.py", options, {"microseconds": found}, options.out)


if __name__ == "__main__":
    main()
