"""Row order without sorting: a keyed bijection of 0..n-1, evaluated where it is needed.

`jax.random.permutation` sorts n random numbers (2.6 s for 3 million rows on two CPU cores, as much as an
epoch) and holds n indices for every lane. A Feistel network needs neither (Mitchell et al.,
"Bandwidth-optimal random shuffling for GPUs", 2022). Ours works on pairs (i // b, i % b) with a * b at or
just above n, instead of on bits: next to no index falls outside 0..n-1 and must walk on, where powers of
two lose up to half.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, UInt32

from jvade.core.layout import on_accelerator

ROUNDS = 8
#: Widths of the table of pairs that are tried for the one that fits n best.
WIDTHS = 64


def _hash(x: UInt32[Array, " N"], key: UInt32[Array, ""]) -> UInt32[Array, " N"]:
    """Mix 32 bits well (the `lowbias32` finaliser by C. Wellons)."""
    x = x ^ key
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _heights(n: UInt32[Array, ""], widths: UInt32[Array, "*W"]) -> UInt32[Array, "*W"]:
    """Return how many rows of each width hold n."""
    return (n + widths - 1) // widths


def _shift(
    x: UInt32[Array, " N"], by: UInt32[Array, " N"], modulus: UInt32[Array, ""]
) -> UInt32[Array, " N"]:
    """Return (x + by mapped to 0..modulus-1) mod modulus, without a division; modulus <= 2^16."""
    moved = x + (((by >> 16) * modulus) >> 16)
    return jnp.where(moved >= modulus, moved - modulus, moved)


def permute(key: Key[Array, ""], index: Int[Array, " N"], n: int | Int[Array, ""]) -> Int[Array, " N"]:
    """Return where `index` goes under the permutation of 0..n-1 that `key` names.

    Args:
        key: names the permutation.
        index: positions, each in 0..n-1.
        n: length of the permutation, 1..2^31-1; may be traced.
    """
    n = jnp.asarray(n, jnp.uint32)
    root = jnp.ceil(jnp.sqrt(n.astype(jnp.float32))).astype(jnp.uint32)
    more = jnp.arange(WIDTHS, dtype=jnp.uint32)
    widths = root + jnp.where(more <= root // 4, more, 0)  # near a square, so that both halves mix well
    a = widths[jnp.argmin(_heights(n, widths) * widths - n)]
    b = _heights(n, a)
    round_keys = jax.random.bits(key, (ROUNDS, 2), jnp.uint32)

    def scramble(i: UInt32[Array, " N"]) -> UInt32[Array, " N"]:
        def one_round(r: Int[Array, ""], halves: tuple[Array, Array]) -> tuple[Array, Array]:
            left, right = halves
            left = _shift(left, _hash(right, round_keys[r, 0]), a)
            return left, _shift(right, _hash(left, round_keys[r, 1]), b)

        left, right = jax.lax.fori_loop(0, ROUNDS, one_round, (i // b, i % b), unroll=on_accelerator())
        return left * b + right

    # Cycle walking: an index that leaves 0..n-1 follows its cycle until it is back.
    def walk(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        i, outside = carry
        i = jnp.where(outside, scramble(i), i)
        return i, i >= n

    everywhere = jnp.ones(index.shape, bool)
    walked, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1]), walk, (index.astype(jnp.uint32), everywhere)
    )
    return walked.astype(index.dtype)
