"""Gaussian mixtures on latents by EM, and the criteria that choose their number of clusters.

Diagonal or full covariances; every K of a range is a lane, padded to the largest K, so a BIC curve is one
computation (sections 2.4 and 3.4, Fig 4).

Where EM starts decides where it ends. Many short runs, the best few continued (after Biernacki, Celeux &
Govaert 2003), find better optima for the same work than a few long runs from K-means, which cuts a cloud
in two where a thin, dense cluster crosses it (benchmarks/em_starts.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jvade.core import em
from jvade.core import mixture as mixtures
from jvade.core.em import Components, GmmFit, Moments
from jvade.core.layout import over_lanes, take_lane
from jvade.core.mixture import mask
from jvade.core.settings import Count, Covariance, Layout, unlike

#: Columns that rows stand in where centers are drawn among them.
DRAW_COLUMNS = 128


@dataclass(frozen=True)
class EmSettings:
    """How EM looks for a mixture.

    Args:
        n_rows: rows it is fitted to at first, a random subset.
        n_init: short runs of EM, of which the best few are continued; every other one starts from k-means++
            centers, the rest from random rows.
        n_continued: how many: the best after few steps need not be the best in the end.
        short_iter: EM steps of a short run.
        max_iter: EM iterations at most.
        tol: gain per row below which EM has converged.
        reg_covar: added to every variance; full covariances are widened by their rounding too, but at 0.
    """

    n_rows: int = 20_000
    n_init: int = 60
    n_continued: int = 5
    short_iter: int = 10
    max_iter: int = 200
    tol: float = 1e-5
    reg_covar: float = 1e-6

    def check(self) -> None:
        """Refuse settings that cannot be.

        Raises:
            ValueError: what was expected and what came.
        """
        problems: list[str] = []
        for name in ("n_rows", "n_init", "n_continued", "short_iter", "max_iter"):
            problems += unlike(name, getattr(self, name), whole=True, least=1)
        for name in ("tol", "reg_covar"):
            problems += unlike(name, getattr(self, name), least=0)
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def stopping(self) -> dict[str, Any]:
        """What `em.fit` is told."""
        return {"max_iter": self.max_iter, "tol": self.tol, "reg_covar": self.reg_covar}


#: As they are where none are given.
DEFAULT = EmSettings()


def draw_centers(
    key: Key[Array, ""],
    z: Float[Array, "N L"],
    n_clusters: Count,
    max_clusters: int,
    apart: Bool[Array, ""] | bool,
) -> Float[Array, "K L"]:
    """Draw starting centers among the rows; padded ones are 0.

    Where they are to lie `apart`, every next center is drawn with probability proportional to its squared
    distance from the nearest center so far: k-means++ (Arthur & Vassilvitskii 2007). Else all rows are alike,
    which finds what lies in the thick of the cloud; so are they where all coincide with a center.
    """
    # One draw for each center: padding leaves the first ones alone. 1 - u lies in (0, 1], so that the row
    # found has weight even where the first ones have none.
    places = 1.0 - jax.random.uniform(key, (max_clusters,), z.dtype)
    # Rows stand in columns: a sum down the columns and one along a single column find a place among the
    # weights in a tenth of the time that a running sum over all of them takes a CPU.
    n_rows, n_latents = z.shape
    shape = -(-n_rows // DRAW_COLUMNS), DRAW_COLUMNS
    filled = jnp.pad(z, ((0, shape[0] * shape[1] - n_rows), (0, 0))).T.reshape(n_latents, *shape)
    alike = (jnp.arange(shape[0] * shape[1]) < n_rows).astype(z.dtype).reshape(shape)

    def pick(i: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        centers, nearest = carry
        weights = jnp.where(apart & (i > 0) & jnp.any(nearest > 0), nearest, alike)
        totals = jnp.cumsum(jnp.sum(weights, axis=0))
        place = places[i] * totals[-1]
        column = jnp.minimum(jnp.sum(totals < place), DRAW_COLUMNS - 1)
        place -= jnp.where(column > 0, totals[column - 1], 0.0)
        within = jnp.cumsum(jax.lax.dynamic_index_in_dim(weights, column, 1, keepdims=False))
        row = jnp.sum(within < jnp.minimum(place, within[-1])) * DRAW_COLUMNS + column
        center = z[jnp.minimum(row, n_rows - 1)]
        # Written out: a CPU adds many rows at a time then.
        squares = sum((filled[j] - center[j]) ** 2 for j in range(n_latents))
        return centers.at[i].set(center), jnp.minimum(nearest, squares * alike)

    begin = jnp.zeros((max_clusters, n_latents), z.dtype), jnp.full_like(alike, jnp.inf)
    centers, _ = jax.lax.fori_loop(0, n_clusters, pick, begin)
    return centers


def first_best(bounds: Float[Array, " R"], tol: float) -> Int[Array, ""]:
    """Return the first run whose likelihood is within `tol` of the highest; runs that broke down are NaN.

    Runs that reach one optimum differ in the last digit, and by device: the first, not the luckiest, keeps
    the order of the clusters.
    """
    bounds = jnp.where(jnp.isfinite(bounds), bounds, -jnp.inf)
    return jnp.argmax(bounds >= jnp.max(bounds) - tol)


def fit_one(
    key: Key[Array, ""],
    z: Float[Array, "N L"],
    n_clusters: Count,
    latent_dim: Count,
    settings: EmSettings,
    max_clusters: int,
    covariance_type: Covariance = "diag",
) -> GmmFit:
    """Fit one mixture, padded to `max_clusters`: short runs of EM, the best few continued.

    Args:
        key: every start draws from a child of it.
        z: latents; masked ones are 0.
        n_clusters: clusters in use.
        latent_dim: latents in use.
        settings: of the runs; their `n_rows` is left to who calls.
        max_clusters: padded size.
        covariance_type: "diag" or "full".
    """
    in_use = mask(max_clusters, n_clusters)

    def short(key: Key[Array, ""], apart: Bool[Array, ""]) -> tuple[Components, Float[Array, ""]]:
        centers = draw_centers(key, z, n_clusters, max_clusters, apart)

        def hard(origin: Float[Array, "K L"]) -> Components:
            """Give every row to its nearest center; sum about an origin of each cluster."""

            def of_block(weights: Array, rows: Array) -> Any:
                distances = jnp.sum((rows.T - centers[:, :, None]) ** 2, axis=1)
                nearest = jnp.argmin(jnp.where(in_use[:, None], distances, jnp.inf), axis=0)
                members = weights * (jnp.arange(max_clusters)[:, None] == nearest)
                return em.moments(rows.T - origin[:, :, None], members, covariance_type)

            sums = Moments(*em.sum_blocks(of_block, z), origin=origin)
            return em.m_step(sums, z.shape[0], latent_dim, covariance_type, settings.reg_covar)

        begin = hard(centers)
        if covariance_type == "full":  # a thin one would lose its definiteness to a center far off
            begin = hard(begin.means)

        def step(_: Int[Array, ""], run: tuple[Components, Array]) -> tuple[Components, Array]:
            return em.em_step(z, run[0], n_clusters, latent_dim, covariance_type, settings.reg_covar)

        return jax.lax.fori_loop(0, settings.short_iter, step, (begin, jnp.zeros((), z.dtype)))

    keys, apart = jax.random.split(key, settings.n_init), jnp.arange(settings.n_init) % 2 == 0
    runs, bounds = jax.lax.map(lambda one: short(*one), (keys, apart))
    bounds = jnp.where(jnp.isfinite(bounds), bounds, -jnp.inf)
    _, best = jax.lax.top_k(bounds, min(settings.n_continued, settings.n_init))

    def long(i: Int[Array, ""]) -> GmmFit:
        how = {"covariance_type": covariance_type, **settings.stopping}
        return em.fit(z, take_lane(runs, i), n_clusters, latent_dim, **how)

    fits = jax.lax.map(long, jnp.sort(best))
    return take_lane(fits, first_best(fits.lower_bound, 10 * settings.tol))


def _fit_one(
    key: Key[Array, ""],
    z: Float[Array, "N L"],
    n_clusters: Int[Array, ""],
    latent_dim: Count,
    settings: EmSettings,
    max_clusters: int,
    covariance_type: Covariance,
) -> GmmFit:
    # The key of a K depends on that K alone, so a range and one K of it agree.
    own = jax.random.fold_in(key, n_clusters)
    return fit_one(own, z, n_clusters, latent_dim, settings, max_clusters, covariance_type)


_fit = over_lanes(
    _fit_one, (None, None, 0, None), static_argnames=("settings", "max_clusters", "covariance_type")
)


def fit(
    key: Key[Array, ""],
    z: Float[Array, "N L"],
    n_clusters: Sequence[int],
    latent_dim: Count | None = None,
    settings: EmSettings = DEFAULT,
    *,
    covariance_type: Covariance = "diag",
    max_clusters: int | None = None,
    layout: Layout = "auto",
) -> GmmFit:
    """Fit a mixture for every K of a range in one computation.

    Args:
        key: every start draws from a child of it.
        z: latents, shape (N, L).
        n_clusters: the values of K; the result has them as its leading axis.
        latent_dim: latents in use; None means all of L.
        settings: of the runs of EM; their `n_rows` is left to who calls.
        covariance_type: "diag" or "full".
        max_clusters: padded size; None means the largest K.
        layout: how the runs share the device, see `Training`.

    Raises:
        ValueError: an empty range, a K below 1, or fewer rows than the largest K.
    """
    if not n_clusters or min(n_clusters) < 1 or max(n_clusters) > z.shape[0]:
        raise ValueError(
            f"n_clusters: expected values between 1 and the number of rows ({z.shape[0]}), "
            f"got {list(n_clusters)}"
        )
    return _fit(
        key,
        z,
        jnp.asarray(n_clusters),
        z.shape[1] if latent_dim is None else latent_dim,
        layout=layout,
        settings=settings,
        max_clusters=max(n_clusters) if max_clusters is None else max_clusters,
        covariance_type=covariance_type,
    )


def warnings(fits: GmmFit, reg_covar: float = DEFAULT.reg_covar) -> list[str]:
    """Return a line for each mixture of a stack that needs a person's eye: what happened, what to try.

    Args:
        fits: mixtures along a leading axis, as `fit` returns them.
        reg_covar: as they were fitted with; a variance that small means rows that coincide.
    """
    lines = []
    for i, n_clusters in enumerate(np.asarray(fits.n_clusters).tolist()):
        covariances = np.asarray(fits.components.covariances[i])[:n_clusters]
        name = f"mixture of {n_clusters} clusters"
        if not fits.finite[i]:
            lines.append(
                f"{name}: EM broke down, as it does on rows that coincide; "
                f"raise reg_covar above {reg_covar:g} or ask for fewer clusters"
            )
            continue
        full = covariances.ndim == 3
        least = np.linalg.eigvalsh(covariances)[:, 0] if full else covariances.min(axis=1)
        empty = np.asarray(fits.components.log_weights[i])[:n_clusters] <= mixtures.NEVER
        floor = 10 * reg_covar + np.exp(mixtures.LOG_VARIANCE_RANGE[0])
        if full:  # a variance that rounding alone has left
            n_latents, most = covariances.shape[1], covariances.max(axis=(1, 2))
            floor += em.rounding(n_latents, covariances.dtype) * most * bool(reg_covar)
        collapsed = int(np.sum(empty | (least <= floor)))
        if collapsed:
            lines.append(
                f"{name}: {collapsed} of them hold no rows or rows that coincide (variance at reg_covar, "
                f"{reg_covar:g}); ask for fewer clusters"
            )
        if not fits.converged[i]:
            lines.append(
                f"{name}: EM was still gaining after {int(fits.n_iter[i])} iterations; "
                "allow more, or a larger tol"
            )
    falls = falls_short(np.asarray(fits.n_clusters).tolist(), np.asarray(fits.lower_bound).tolist())
    return lines + [
        f"mixture of {k} clusters: a lower likelihood than with {fewer}, so its starts missed the best fit; "
        "allow more of them (n_init)"
        for fewer, k in falls
    ]


def falls_short(n_clusters: Sequence[int], lower_bounds: Sequence[float]) -> list[tuple[int, int]]:
    """Return the numbers of clusters that fit worse than the number before them, each after that number.

    Every K could do at least as well as a smaller one: its starts have missed the optimum.
    """
    by_size = sorted(dict(zip(n_clusters, lower_bounds, strict=True)).items())
    return [(fewer, k) for (fewer, before), (k, bound) in pairwise(by_size) if bound < before - 0.01]
