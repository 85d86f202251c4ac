"""Choosing the number of latents and of clusters from a grid of mixtures (sections 2.2, 3.1 and 3.4)."""

import numpy as np
import pandas as pd

#: Indices of section 2.2 and whether higher is better.
HIGHER_IS_BETTER = {"silhouette": True, "davies_bouldin": False, "calinski_harabasz": True}
#: In words, for every place that names the rule.
RULE = "lowest mean of the ranks by the three indices; of equal ones, fewer latents, then fewer clusters"


def choose(grid: pd.DataFrame) -> pd.Series:
    """Return the row of a grid that the three indices rank best together; see `RULE`.

    The study does not say how it weighed the indices.

    Args:
        grid: columns latent_dim, n_clusters and the three indices; a row with a blank index is out.

    Raises:
        ValueError: no row has all three indices.
    """
    complete = grid.dropna(subset=list(HIGHER_IS_BETTER))
    if complete.empty:
        raise ValueError("no mixture of the grid has two clusters or more with rows")
    ranks = pd.DataFrame(
        {name: complete[name].rank(ascending=not higher) for name, higher in HIGHER_IS_BETTER.items()}
    )
    ranked = complete.assign(mean_rank=ranks.mean(axis=1))
    return ranked.sort_values(["mean_rank", "latent_dim", "n_clusters"], kind="stable").iloc[0]


def best_by(grid: pd.DataFrame, criterion: str, higher: bool) -> pd.DataFrame:
    """Return for each number of latents the row that is best by one criterion (Table 3).

    Of equal rows the one with fewer clusters; a number of latents whose criterion is blank throughout is out.

    Args:
        grid: columns latent_dim, n_clusters, and the criterion.
        criterion: name of the column.
        higher: whether higher is better.
    """
    known = grid.dropna(subset=[criterion]).sort_values("n_clusters", kind="stable")
    ordered = known.sort_values(criterion, ascending=not higher, kind="stable")
    return ordered.drop_duplicates("latent_dim").sort_values("latent_dim").reset_index(drop=True)


def elbow(x: np.ndarray, y: np.ndarray) -> float:
    """Return where a falling curve bends most: the point farthest below the line between its ends.

    Args:
        x: ascending, such as numbers of clusters.
        y: of the same length; NaN is skipped.

    Returns:
        The x of that point; NaN where no point lies below the line (Satopaa et al. 2011, "Kneedle", without
        its smoothing).
    """
    known = ~np.isnan(y)
    x, y = np.asarray(x, float)[known], np.asarray(y, float)[known]
    if len(x) < 3 or y[0] == y[-1]:
        return np.nan
    line = y[0] + (x - x[0]) / (x[-1] - x[0]) * (y[-1] - y[0])
    below = line - y
    return float(x[np.argmax(below)]) if below.max() > 0 else np.nan
