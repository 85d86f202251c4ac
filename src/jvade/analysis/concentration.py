"""How concentrated crossing is: what share of it few clusters hold (section 3.3).

Clusters that are blank because few patients stand behind them are pooled into one group, "others": what the
overall row leaves after the rest. Where the overall row is blank too, or leaves less than nothing (rounded
numbers), they are dropped, and every share is of the visits of the clusters that are left.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

OTHERS = "others"


class Groups(NamedTuple):
    """Clusters by falling cross rate, the pool of blank ones among them.

    Args:
        names: as text.
        visits: percent of all visits.
        crossing: visits that cross, percent of all visits.
        rates: percent of the group's visits.
    """

    names: list[str]
    visits: Float[np.ndarray, " K"]
    crossing: Float[np.ndarray, " K"]
    rates: Float[np.ndarray, " K"]


def lorenz(rates: pd.DataFrame) -> pd.DataFrame:
    """Return how much of all crossing the clusters with the highest rates hold.

    Args:
        rates: as `profiles.cross_rates` returns it; `share` and `cross_rate` are used.

    Returns:
        A row per point, from (0, 0): cluster that is added there (text, "" at the start, "others" for the
        pool of blank clusters), visits and crossing: cumulative percent of either, clusters by falling rate.
        crossing is NaN where nobody crosses.
    """
    names, visits, crossing, _ = _groups(rates)
    return pd.DataFrame(
        {
            "cluster": ["", *names],
            "visits": np.append(0.0, _percent(visits.cumsum(), visits.sum())),
            "crossing": np.append(0.0, _percent(crossing.cumsum(), crossing.sum())),
        }
    )


def gini(curve: pd.DataFrame) -> float:
    """Return twice the area between a curve of `lorenz` and the diagonal: 0 where all clusters cross alike.

    The most it can be is the share of visits that do not cross: some clusters always cross, the others never.
    NaN where nobody crosses.
    """
    if len(curve) < 2:
        return np.nan
    x, y = curve[["visits", "crossing"]].to_numpy(float).T / 100
    return float(2 * np.trapezoid(y, x) - 1)


def above_overall(rates: pd.DataFrame) -> tuple[float, float]:
    """Return what share of visits, and of crossing visits, is in clusters above the overall rate; percent.

    Args:
        rates: as `profiles.cross_rates` returns it; a pool of blank clusters counts as one cluster.

    Returns:
        Both NaN where the overall rate is blank, the second where nobody crosses.
    """
    groups, overall = _groups(rates), _overall(rates)[1]
    if np.isnan(overall):
        return np.nan, np.nan
    # What is left of the overall row can miss it by a rounding.
    above = groups.rates > overall * (1 + 1e-9)
    visits, crossing = (_percent(x[above].sum(), x.sum()) for x in (groups.visits, groups.crossing))
    return float(visits), float(crossing)


def _groups(rates: pd.DataFrame) -> Groups:
    """Return the clusters of a table, pooled where they are blank."""
    clusters = rates.drop(index="overall")
    shares, cross = clusters[["share", "cross_rate"]].to_numpy(float).T
    known = ~(np.isnan(shares) | np.isnan(cross))
    names = [str(name) for name in clusters.index[known]]
    visits, crossing = shares[known], shares[known] * cross[known] / 100
    if not known.all():
        share, rate = _overall(rates)
        rest, crossed = share - visits.sum(), share * rate / 100 - crossing.sum()
        # Also false where the overall row is NaN.
        if rest > 1e-9 and -1e-9 <= crossed <= rest + 1e-9:
            names.append(OTHERS)
            visits, crossing = np.append(visits, rest), np.append(crossing, min(max(crossed, 0.0), rest))
    percent = 100 * crossing / visits
    order = np.lexsort((-visits, -percent))
    return Groups([names[i] for i in order], visits[order], crossing[order], percent[order])


def _overall(rates: pd.DataFrame) -> tuple[float, float]:
    """Return share and rate of all visits; percent."""
    share, rate = rates.loc[["overall"], ["share", "cross_rate"]].to_numpy(float)[0]
    return float(share), float(rate)


def _percent(parts: np.ndarray, whole: float) -> np.ndarray:
    """Return parts in percent of the whole, NaN where there is none."""
    return 100 * parts / whole if whole > 0 else np.full(np.shape(parts), np.nan)
