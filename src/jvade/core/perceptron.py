"""One hidden layer whose activations never leave the chip: y = relu(x W + b) U^T + c, for NVIDIA GPUs.

The hidden layer is wide (256 in the study), what goes in and comes out is narrow. Product by product, a GPU
spends most of a step of many lanes on writing wide activations to its memory and reading them back. Here a
program keeps the hidden units of some rows in registers and writes narrow results only; the gradients make
the hidden layer once more instead of reading it (benchmarks/perceptron.py).

JAX means to drop the language these programs are written in (Pallas for Triton); without it, on other devices
and with few lanes, the products of `networks` are used. There is no forward mode.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

#: Run the programs in Python, on any device: for tests.
INTERPRET = False
#: Hidden units and rows of a program at a time, its warps, and into how many parts the rows are split for the
#: gradients: as measured with 35 lanes (benchmarks/perceptron.py).
UNITS = 64
ROWS = 64
WARPS = 4
PARTS = 4
#: Inputs and outputs at most: beyond, they fill the registers.
NARROW = 64
#: Lanes side by side from which on it is used. 35 were faster, one alone was not; where it turns has not been
#: measured.
MANY = 16


def fits(x: Float[Array, "N A"], out_kernel: Float[Array, "O H"]) -> bool:
    """Return whether `perceptron` can be used: narrow rows, a wide hidden layer, all in single precision."""
    single = x.dtype == out_kernel.dtype == jnp.float32 and jnp.zeros(0).dtype == jnp.float32
    is_batch = x.ndim == 2 and len(x) >= ROWS
    is_wide = out_kernel.shape[1] >= UNITS
    return single and is_batch and is_wide and max(x.shape[1] + 1, len(out_kernel)) <= NARROW


@jax.custom_vjp
def perceptron(
    x: Float[Array, "N A"],
    kernel: Float[Array, "A H"],
    bias: Float[Array, " H"],
    out_kernel: Float[Array, "O H"],
    out_bias: Float[Array, " O"],
) -> Float[Array, "N O"]:
    """Return relu(x W + b) U^T + c; every kernel is stored with the hidden units last."""
    return _forward(x, kernel, bias, out_kernel) + out_bias


def _wide(size: int) -> int:
    """Return the size of a block that holds so many: Triton multiplies powers of two, 16 at least."""
    return max(16, 1 << (size - 1).bit_length())


def _load(ref: Any, row: Any, n_rows: int, column: Any, n_columns: int) -> Array:
    """Return a block of a matrix; what lies beyond it is 0."""
    rows, columns = row + jnp.arange(n_rows), column + jnp.arange(n_columns)
    within = (rows < ref.shape[0])[:, None] & (columns < ref.shape[1])[None, :]
    return triton.load(ref.at[pl.ds(row, n_rows), pl.ds(column, n_columns)], mask=within, other=0.0)


def _store(ref: Any, value: Array, row: Any, column: Any, *which: Any) -> None:
    """Write a block of a matrix, or of one of several; what lies beyond it is left out."""
    rows, columns = row + jnp.arange(value.shape[0]), column + jnp.arange(value.shape[1])
    within = (rows < ref.shape[-2])[:, None] & (columns < ref.shape[-1])[None, :]
    place = (*which, pl.ds(row, value.shape[0]), pl.ds(column, value.shape[1]))
    triton.store(ref.at[place], value, mask=within)


def _with_one(x_ref: Any, row: Any) -> Array:
    """Return rows with a 1 behind their last input: the input of the bias."""
    n = x_ref.shape[1]
    x = _load(x_ref, row, ROWS, 0, _wide(n + 1))
    return jnp.where(jnp.arange(x.shape[1])[None, :] == n, 1.0, x)


def _with_bias(kernel_ref: Any, bias_ref: Any, column: Any) -> Array:
    """Return the kernel of some hidden units with their bias as one more row."""
    n = kernel_ref.shape[0]
    kernel = _load(kernel_ref, 0, _wide(n + 1), column, UNITS)
    units = column + jnp.arange(UNITS)
    bias = triton.load(bias_ref.at[pl.ds(column, UNITS)], mask=units < bias_ref.shape[0], other=0.0)
    return jnp.where(jnp.arange(kernel.shape[0])[:, None] == n, bias[None, :], kernel)


def _dot(a: Array, b: Array, axis_a: int, axis_b: int) -> Array:
    return jax.lax.dot_general(a, b, (((axis_a,), (axis_b,)), ((), ())), preferred_element_type=jnp.float32)


def _forward_program(x_ref: Any, kernel_ref: Any, bias_ref: Any, out_ref: Any, y_ref: Any) -> None:
    row = pl.program_id(0) * ROWS
    x = _with_one(x_ref, row)
    n_out = _wide(out_ref.shape[0])

    def add(i: Any, y: Array) -> Array:
        hidden = jnp.maximum(_dot(x, _with_bias(kernel_ref, bias_ref, i * UNITS), 1, 0), 0.0)
        return y + _dot(hidden, _load(out_ref, 0, n_out, i * UNITS, UNITS), 1, 1)

    n_blocks = -(-kernel_ref.shape[1] // UNITS)
    y = jax.lax.fori_loop(0, n_blocks, add, jnp.zeros((ROWS, n_out), jnp.float32))
    _store(y_ref, y, row, 0)


def _forward(x: Array, kernel: Array, bias: Array, out_kernel: Array) -> Array:
    return pl.pallas_call(
        _forward_program,
        grid=(-(-x.shape[0] // ROWS),),
        out_shape=jax.ShapeDtypeStruct((x.shape[0], out_kernel.shape[0]), x.dtype),
        interpret=INTERPRET,
        compiler_params=triton.CompilerParams(num_warps=WARPS),
        name="perceptron",
    )(x, kernel, bias, out_kernel)


def _backward_program(
    x_ref: Any,
    slope_ref: Any,
    kernel_ref: Any,
    bias_ref: Any,
    out_ref: Any,
    to_kernel_ref: Any,
    to_out_ref: Any,
    to_x_ref: Any = None,
) -> None:
    block, part = pl.program_id(0), pl.program_id(1)
    column = block * UNITS
    n_out, n_rows = _wide(out_ref.shape[0]), x_ref.shape[0]
    kernel = _with_bias(kernel_ref, bias_ref, column)
    out_kernel = _load(out_ref, 0, n_out, column, UNITS)
    n_tiles = -(-n_rows // (ROWS * PARTS))

    def add(i: Any, sums: tuple[Array, Array]) -> tuple[Array, Array]:
        row = (part * n_tiles + i) * ROWS
        x, slope = _with_one(x_ref, row), _load(slope_ref, row, ROWS, 0, n_out)
        before = _dot(x, kernel, 1, 0)
        to_before = jnp.where(before > 0, _dot(slope, out_kernel, 1, 0), 0.0)
        if to_x_ref is not None:
            _store(to_x_ref, _dot(to_before, kernel, 1, 1), row, 0, block)
        to_kernel, to_out = sums
        return (
            to_kernel + _dot(x, to_before, 0, 0),
            to_out + _dot(slope, jnp.maximum(before, 0.0), 0, 0),
        )

    zeros = jnp.zeros((kernel.shape[0], UNITS), jnp.float32), jnp.zeros((n_out, UNITS), jnp.float32)
    to_kernel, to_out = jax.lax.fori_loop(0, n_tiles, add, zeros)
    _store(to_kernel_ref, to_kernel, 0, column, part)
    _store(to_out_ref, to_out, 0, column, part)


def _backward(of_rows: bool, *arrays: Array) -> Sequence[Array]:
    """Return the gradients of W with b behind it, of U, and of x if asked for, each in parts to be summed."""
    x, _, _, _, out_kernel = arrays
    (n_rows, n_in), (n_out, width) = x.shape, out_kernel.shape
    n_blocks = -(-width // UNITS)
    shapes = [(PARTS, n_in + 1, width), (PARTS, n_out, width)]
    shapes += [(n_blocks, n_rows, n_in)] * of_rows
    return pl.pallas_call(
        _backward_program,
        grid=(n_blocks, PARTS),
        out_shape=[jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes],
        interpret=INTERPRET,
        compiler_params=triton.CompilerParams(num_warps=WARPS),
        name="perceptron_gradients",
    )(*arrays)


def _forward_rule(x: Any, *rest: Any) -> tuple[Array, tuple[Any, ...]]:
    values = [one.value for one in (x, *rest)]
    # Whether the rows have a gradient is said by structure: a truth value would be traced.
    return perceptron(*values), (() if x.perturbed else None, *values[:-1])


def _backward_rule(kept: tuple[Any, ...], slope: Float[Array, "N O"]) -> tuple[Array, ...]:
    asked, x, *weights = kept
    of_rows = asked is not None
    to_kernel, to_out, *to_x = (jnp.sum(one, axis=0) for one in _backward(of_rows, x, slope, *weights))
    return (
        to_x[0] if of_rows else jnp.zeros_like(x),
        to_kernel[:-1],
        to_kernel[-1],
        to_out,
        jnp.sum(slope, axis=0),
    )


perceptron.defvjp(_forward_rule, _backward_rule, symbolic_zeros=True)
