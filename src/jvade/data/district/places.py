"""Where people of the district live, and the institutions they go to."""

from functools import cache

import numpy as np
import pandas as pd

from jvade.data.district.choices import DESTINATIONS, INSTITUTIONS, KINDS, SUBDISTRICTS

HOME = "A"
#: Institutions of one kind in one place: the busiest is this power of its rank busier than the rest.
POPULARITY = 0.5
CELLS = INSTITUTIONS.size  # place times kind, in the order of `INSTITUTIONS` read along its rows
CENTRES = len(KINDS) - 1  # cell of the community centres in the home district


def areas() -> pd.DataFrame:
    """Return every area: area, district, zone (home district only), destination (elsewhere only)."""
    home = [(area, HOME, zone, None) for area, (zone, _) in SUBDISTRICTS.items()]
    away = [(area, area, None, kind) for kind, names in DESTINATIONS.items() for area in names]
    return pd.DataFrame(home + away, columns=["area", "district", "zone", "destination"])


@cache
def institutions() -> pd.DataFrame:
    """Return every institution: institution_id, area, level, specialty, and `cell` (place times kind).

    Rows are in order of cell; the areas of a place take turns, so that every sub-district of the home
    district has as many community centres.
    """
    places = (tuple(SUBDISTRICTS), *DESTINATIONS.values())
    rows = [
        (place[i % len(place)], *KINDS[kind], at * len(KINDS) + kind)
        for at, place in enumerate(places)
        for kind in range(len(KINDS))
        for i in range(INSTITUTIONS[at, kind])
    ]
    table = pd.DataFrame(rows, columns=["area", "level", "specialty", "cell"])
    table.insert(0, "institution_id", [f"H{i:04d}" for i in range(1, len(table) + 1)])
    return table.astype({"specialty": np.int8})


@cache
def popularity() -> np.ndarray:
    """Return the cumulative share of each institution within its cell, plus the number of the cell."""
    cell = institutions()["cell"]
    weight = (institutions().groupby("cell").cumcount() + 1.0) ** -POPULARITY
    share = weight.groupby(cell).cumsum() / weight.groupby(cell).transform("sum")
    return (cell + share).to_numpy()


def choose(cell: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the institution (row of `institutions`) at quantile u of the cell's popularity.

    Args:
        cell: place times kind, int (n,).
        u: quantiles in [0, 1), float (n,).
    """
    return np.searchsorted(popularity(), cell + u, side="right").astype(np.int16)


def centre(subdistrict: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the community centre (row of `institutions`) at quantile u of those of a sub-district."""
    first = INSTITUTIONS.ravel()[:CENTRES].sum()
    each = INSTITUTIONS[0, -1] // len(SUBDISTRICTS)
    turn = (u * each).astype(np.int16)
    return (first + turn * len(SUBDISTRICTS) + subdistrict).astype(np.int16)
