"""The random numbers of a step: noise of the latents, and which inputs are hidden."""

import math
from typing import Any

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt

from jvade.core.layout import on_accelerator

#: Rotations of Threefry-2x32 and the constant of its key schedule (Salmon et al. 2011, "Parallel random
#: numbers: as easy as 1, 2, 3").
ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = np.uint32(0x1BD11BDA)
#: Numbers that are counted in one word.
MOST_DRAWS = 2**32


def _threefry(key: UInt[Array, "2"], n: int) -> tuple[UInt[Array, " n"], UInt[Array, " n"]]:
    """Return both words of Threefry-2x32 with 20 rounds, of the numbers from 0 to n."""
    keys = key[0], key[1], key[0] ^ key[1] ^ PARITY
    high, low = jnp.broadcast_to(keys[0], n), jax.lax.iota(jnp.uint32, n) + keys[1]
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            high = high + low
            low = high ^ ((low << rotation) | (low >> (32 - rotation)))
        high = high + keys[(i + 1) % 3]
        low = low + keys[(i + 2) % 3] + np.uint32(i + 1)
    return high, low


def _bits(key: UInt[Array, "2"], width: int, shape: tuple[int, ...]) -> UInt[Array, "..."]:
    n = math.prod(shape)
    if n > MOST_DRAWS:
        raise ValueError(f"expected at most {MOST_DRAWS} draws of a key, got {n}; draw in parts")
    high, low = (word.reshape(shape) for word in _threefry(key, n))
    if width == 64:
        return (high.astype(jnp.uint64) << 32) | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{width}")


def _not_derived(*_: Any) -> Any:
    raise NotImplementedError("expected draws only: keys are derived from those of jax.random.key")


#: JAX's own generator with its rounds written out: the same numbers. On a CPU JAX has them in a loop, which
#: takes three times as long.
UNROLLED = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=_not_derived,
    split=_not_derived,
    random_bits=_bits,
    fold_in=_not_derived,
    name="threefry2x32 unrolled",
    tag="fru",  # JAX's own is "fry"
)


def fast(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return a key that draws the same numbers in less time, for many of them."""
    as_jax_does = jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]
    if on_accelerator() or not as_jax_does or jax.random.key_impl(key) != "threefry2x32":
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=UNROLLED)


def noise(key: Key[Array, ""], latent_dim: int, n_rows: int) -> Float[Array, "L N"]:
    """Draw standard normals, latent by latent, so that padding the latents leaves the first ones alone."""
    return jax.random.normal(fast(key), (latent_dim, n_rows))


def hidden(key: Key[Array, ""], n_rows: int, n_features: int, share: float) -> Bool[Array, "N D"]:
    """Draw which inputs are hidden, each with a chance of `share`, of 1/65,536 to 65,535/65,536."""
    # Drawing bits is a large part of a step, so an input has no more of a word than the share asks for. The
    # words come of JAX's loop: written out, they would be drawn anew for each input that shares one.
    n_bits = next((n for n in (1, 2, 4, 8) if 0 < share * 2**n == round(share * 2**n)), 16)
    per_word = 32 // n_bits
    words = jax.random.bits(key, (n_rows, -(-n_features // per_word)), jnp.uint32)
    shifts = n_bits * jnp.arange(per_word, dtype=jnp.uint32)
    parts = (words[:, None, :] >> shifts[:, None]) & (2**n_bits - 1)
    parts = parts.reshape(n_rows, -1)[:, :n_features]
    return parts < min(max(round(share * 2**n_bits), 1), 2**n_bits - 1)
