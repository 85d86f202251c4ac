"""K-means on latents, as the start of EM: k-means++ seeding and Lloyd's iterations, padded in K.

Clustering a table by K-means is scikit-learn's work; this one exists because it runs inside a batched
program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jvade.core.mixture import mask
from jvade.core.settings import Count


class KMeans(NamedTuple):
    """Centers (padded ones at the origin), the label of each row, and the sum of squared distances."""

    centers: Float[Array, "K L"]
    labels: Int[Array, " N"]
    inertia: Float[Array, ""]


def _squared_distances(z: Float[Array, "N L"], centers: Float[Array, "K L"]) -> Float[Array, "N K"]:
    return jnp.sum((z[:, None, :] - centers) ** 2, axis=-1)


def plus_plus(
    key: Key[Array, ""], z: Float[Array, "N L"], n_clusters: Count, max_clusters: int
) -> Float[Array, "K L"]:
    """Choose starting centers among the rows, each far from the others (Arthur & Vassilvitskii 2007).

    Every next center is drawn with probability proportional to its squared distance from the nearest
    center so far; where all rows coincide with a center, uniformly.
    """
    key_first, key_next = jax.random.split(key)
    first = z[jax.random.randint(key_first, (), 0, z.shape[0])]
    centers = jnp.zeros((max_clusters, z.shape[1]), z.dtype).at[0].set(first)

    def pick(i: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        centers, nearest = carry
        total = jnp.cumsum(jnp.where(jnp.any(nearest > 0), nearest, 1.0))
        # 1 - u lies in (0, 1]: the row found has weight, even where the first ones have none.
        u = 1.0 - jax.random.uniform(jax.random.fold_in(key_next, i), dtype=z.dtype)
        center = z[jnp.minimum(jnp.searchsorted(total, u * total[-1]), z.shape[0] - 1)]
        return centers.at[i].set(center), jnp.minimum(nearest, jnp.sum((z - center) ** 2, axis=-1))

    nearest = jnp.sum((z - first) ** 2, axis=-1)
    centers, _ = jax.lax.fori_loop(1, n_clusters, pick, (centers, nearest))
    return centers


def fit(
    key: Key[Array, ""],
    z: Float[Array, "N L"],
    n_clusters: Count,
    max_clusters: int,
    max_iter: int = 50,
) -> KMeans:
    """Run Lloyd's iterations from a k-means++ start until no label changes; an empty cluster stays put."""
    in_use = mask(max_clusters, n_clusters)

    def label(centers: Float[Array, "K L"]) -> tuple[Int[Array, " N"], Float[Array, ""]]:
        distances = jnp.where(in_use, _squared_distances(z, centers), jnp.inf)
        return jnp.argmin(distances, axis=-1), jnp.sum(jnp.min(distances, axis=-1))

    def update(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        centers, labels, _, i = carry
        members = jax.nn.one_hot(labels, max_clusters, dtype=z.dtype)
        counts = jnp.sum(members, axis=0)
        means = (members.T @ z) / jnp.maximum(counts, 1.0)[:, None]
        centers = jnp.where((counts > 0)[:, None], means, centers)
        return centers, *label(centers), i + 1

    def changed(pair: tuple[tuple[Array, ...], tuple[Array, ...]]) -> Array:
        before, after = pair
        return jnp.any(before[1] != after[1]) & (after[3] < max_iter)

    centers = plus_plus(key, z, n_clusters, max_clusters)
    begin = (centers, *label(centers), jnp.array(0))
    _, (centers, labels, inertia, _) = jax.lax.while_loop(
        changed, lambda pair: (pair[1], update(pair[1])), (begin, update(begin))
    )
    return KMeans(centers, labels, inertia)
