"""How fast a GPU makes the hidden layer on the chip, by the sizes of its programs, and by plain products.

    .venv/bin/python benchmarks/perceptron.py --out benchmarks/results/perceptron.json

Encoder and decoder of the paper's model (38 inputs, 256, batch 1024) behind one another: their values, and a
step down the gradient. A step is timed within a loop on the device, so that no launch from the host counts.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import report

from jvade.core import perceptron
from jvade.core.settings import STUDY_BATCH, Architecture

WIDTH = Architecture.widths[0]
N_FEATURES = 38


def by_products(x: Any, kernel: Any, bias: Any, out_kernel: Any, out_bias: Any) -> jax.Array:
    """Return what `perceptron` does, product by product."""
    return jnp.maximum(x @ kernel + bias, 0.0) @ out_kernel.T + out_bias


def programs(layer: Callable[..., jax.Array], n_lanes: int, latent_dim: int, steps: int) -> Any:
    """Return the compiled loops over values and over gradients, and their arguments."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(0.05 * rng.normal(size=(n_lanes, *shape)), jnp.float32)

    def weights(n_in: int, n_out: int) -> tuple[jax.Array, ...]:
        return draw(n_in, WIDTH), draw(WIDTH), draw(n_out, WIDTH), draw(n_out)

    params = weights(N_FEATURES, 2 * latent_dim), weights(latent_dim, N_FEATURES)
    x = 20 * draw(STUDY_BATCH, N_FEATURES)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        encoder, decoder = params
        return jnp.mean(layer(layer(x, *encoder)[:, :latent_dim], *decoder) ** 2)

    def value(params: Any) -> Any:  # what comes out goes in again, or nothing would be computed twice
        found = jax.vmap(loss)(params, x)
        return jax.tree.map(lambda one: one + 1e-9 * found.reshape(-1, *[1] * (one.ndim - 1)), params)

    def gradient(params: Any) -> Any:
        slopes = jax.vmap(jax.grad(loss))(params, x)
        return jax.tree.map(lambda one, slope: one - 1e-3 * slope, params, slopes)

    loops = [
        jax.jit(lambda params, step=step: jax.lax.fori_loop(0, steps, lambda _, p: step(p), params))
        for step in (value, gradient)
    ]
    return loops, params


def microseconds(layer: Callable[..., jax.Array], n_lanes: int, latent_dim: int, options: Any) -> list[Any]:
    """Return what a step of each loop takes."""
    loops, params = programs(layer, n_lanes, latent_dim, options.steps)
    found = []
    for loop in loops:
        jax.block_until_ready(loop(params))
        seconds = []
        for _ in range(options.repeats):
            begin = time.perf_counter()
            jax.block_until_ready(loop(params))
            seconds.append(1e6 * (time.perf_counter() - begin) / options.steps)
        found.append(report.spread(seconds))
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="The hidden layer on the chip, by sizes of its programs.")
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--parts", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 35])
    parser.add_argument("--latents", type=int, nargs="+", default=[2, 30], help="for each of --lanes")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = []
    for n_lanes, latent_dim in zip(options.lanes, options.latents, strict=True):
        run = partial(microseconds, n_lanes=n_lanes, latent_dim=latent_dim, options=options)
        each: dict[str, Any] = {"products": run(by_products)}
        for rows, parts in product(options.rows, options.parts):
            perceptron.ROWS, perceptron.PARTS = rows, parts
            each[f"{rows} rows, {parts} parts"] = run(perceptron.perceptron)
        for name, (values, gradients) in each.items():
            lines.append({"lanes": n_lanes, "program": name, "values_us": values, "gradients_us": gradients})
            print(
                f"{n_lanes} lanes, {name}: {values['median']:.1f} us, "
                f"with gradients {gradients['median']:.1f} us",
                flush=True,
            )
    report.write("benchmarks/perceptron.py", options, {"results": lines}, options.out)


if __name__ == "__main__":
    main()
