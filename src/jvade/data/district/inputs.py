"""The study's inputs of a block, computed from it directly: what a reader of the raw tables has to find."""

import numpy as np
import pandas as pd

from jvade.data import icd10
from jvade.data.district import codes, places
from jvade.data.district.draw import YEAR_BEGIN, Block, completed_years
from jvade.data.variables import LEVELS, OUTCOME


def inputs(block: Block) -> pd.DataFrame:
    """Return a row per visit, visits without a cost included, in order of patient and of time.

    Args:
        block: the visits.

    Returns:
        The 38 inputs (Table 2), `cross_district` (bool), and to describe visits with: `zone` of residence,
        `destination` (missing where the visit does not cross), `patient` and `planted_type` (1 to 7).
    """
    people, who = block.patients, block.patient
    pool, area = places.institutions(), places.areas().set_index("area")
    table: dict[str, np.ndarray | pd.Series] = {
        "female": people.female[who],
        "age": completed_years(people.birth[who], YEAR_BEGIN + block.day).astype(np.float32),
        "cost": block.cost.astype(np.float32),
        "hypertension": people.hypertension[who],
        "diabetes": people.diabetes[who],
        "visits_this_year": block.turn.astype(np.float32),
        "days_since_last_visit": _gap(block),
        "crossed_before": _earlier(block.crossed, block.turn) > 0,
    }
    level = pd.Categorical(pool["level"])
    at = level.codes[block.institution]
    table |= {v.name: at == level.categories.get_loc(v.name) for v in LEVELS}
    table["specialty"] = pool["specialty"].to_numpy()[block.institution] == 1
    table |= {f"subdistrict_{i + 1:02d}": people.subdistrict[who] == i for i in range(10)}
    category = np.array([name[:3] for name in codes.NAMES])
    for name, ranges in icd10.DIAGNOSIS_RANGES.items():
        table[name] = icd10.in_ranges(category, ranges)[block.code]
    table = {name: v.astype(np.uint8) if v.dtype == bool else v for name, v in table.items()}

    home = area.loc[area["district"] == places.HOME, "zone"]
    destination = pd.Categorical(area.loc[pool["area"], "destination"])
    table[OUTCOME] = block.crossed
    table["zone"] = pd.Series(pd.Categorical(home).take(people.subdistrict[who]))
    table["destination"] = pd.Series(destination.take(block.institution))
    table["patient"] = people.number[who].astype(np.int32)
    table["planted_type"] = block.kind + np.int8(1)
    return pd.DataFrame(table, copy=False)


def _gap(block: Block) -> np.ndarray:
    """Return the days since the patient's visit before, NaN for the first, float32 (V,)."""
    gap = np.diff(block.day, prepend=block.day[:1]).astype(np.float32)
    return np.where(block.turn == 0, np.float32(np.nan), gap)


def _earlier(happened: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return how many earlier visits of the patient it happened at, int (V,)."""
    before = np.cumsum(happened) - happened
    return before - before[np.arange(len(turn)) - turn]
