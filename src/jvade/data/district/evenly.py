"""Draws of categories that come as often as their shares say, and not only on average."""

import numpy as np


def spread(cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return uniform numbers that lie evenly within every cell, in random order, (n,).

    Args:
        cell: what each number belongs to, from 0, (n,).
        rng: source of the draws.
    """
    order = np.argsort(cell + rng.random(len(cell)))
    counts = np.bincount(cell)
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    u = np.empty(len(cell))
    u[order] = (rank + np.repeat(rng.random(len(counts)), counts)) / np.repeat(counts, counts)
    return u


def pick(shares: np.ndarray, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a category per visit, evenly spread: each cell's categories come as often as its shares say.

    Args:
        shares: of each category (columns) by cell (rows); rows sum to one, (cells, categories).
        cell: row of each visit, (n,).
        rng: source of the draws.
    """
    return category(shares, cell, spread(cell, rng))


def category(shares: np.ndarray, cell: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the category at quantile u of the shares of each cell, int (n,)."""
    cells, categories = shares.shape
    # Cell i owns the interval from i to i + 1, cut at its cumulative shares: one search serves all cells.
    edges = np.cumsum(shares, axis=1) + np.arange(cells)[:, None]
    edges[:, -1] = np.arange(1, cells + 1)
    place = np.searchsorted(edges.ravel(), cell + u, side="right")
    return np.minimum(place - cell * categories, categories - 1)
