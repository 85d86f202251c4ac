"""The visits of a run and what the networks see of them (section 2.1, Tables 1 and 2)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from jvade import manifest
from jvade.core import layout as layouts
from jvade.data.district import tables
from jvade.data.engines import scratch
from jvade.data.features import read_visits
from jvade.data.mapping import read_mapping
from jvade.data.matrix import Scaling, fit_scaling, to_matrix
from jvade.data.variables import CROSS_DISTRICT, OUTCOME, Account, Dropped, Variable, VisitTable
from jvade.paper.settings import PaperSettings
from jvade.paper.stage import Outcome, Stage, Study


@dataclass(frozen=True)
class Cohort:
    """Visits, scaling, and the matrix of both.

    Args:
        table: the visits.
        scaling: of the inputs.
        x: the scaled inputs, float32 (N, D), where the layout of the training wants them.
        planted: type that a simulated visit was drawn from, 1 to 7; None for real visits.
    """

    table: VisitTable
    scaling: Scaling
    x: jax.Array
    planted: np.ndarray | None

    @property
    def matrix(self) -> np.ndarray:
        """`x` on the host: on a CPU the same memory."""
        return np.asarray(self.x)

    @property
    def patients(self) -> np.ndarray | None:
        """Patient of each visit, None if the file does not say."""
        return self.table.frame["patient"].to_numpy() if "patient" in self.table.frame else None


def describe_source(settings: PaperSettings) -> dict[str, Any]:
    """Return what the visits are: fingerprints of the files, or how they are simulated.

    Raises:
        InputError: the mapping cannot be read.
    """
    if settings.visits is None or settings.mapping is None:
        return {"simulated": {"visits": settings.n_visits, "seed": settings.seed}}
    return manifest.fingerprints(settings.visits, settings.mapping)


def read(settings: PaperSettings) -> tuple[VisitTable, np.ndarray | None, dict[str, int]]:
    """Read or simulate the visits; return them, their planted types, and counts of the simulation."""
    if settings.visits is not None and settings.mapping is not None:
        table = read_visits(
            settings.visits,
            read_mapping(settings.mapping),
            settings=settings.tables,
            min_rows=settings.min_patients,  # a rare code may be a person, and tables have its name
        )
        return table, None, {}
    with scratch(settings.tables) as temp:
        district = temp / "district"
        written = tables.write(district, settings.n_visits, seed=settings.seed)
        table = read_visits(
            district / "visits", read_mapping(district / "mapping.toml"), settings=settings.tables
        )
        types = pq.read_table(district / "truth.parquet")["planted_type"].to_numpy()
    counts = {name: int(value) for name, value in written._asdict().items()}
    return table, types[table.frame["row"].to_numpy() - 1], counts


def compute(study: Study) -> Outcome:
    """Read the visits, account for every row, and describe the variables."""
    table, planted, counts = read(study.settings)
    study.settings.check_size(table.account.kept)  # before anything is written
    for line in table.account.lines():
        study.terminal.say(f"  {line}")
    values = {
        "account": asdict(table.account),
        "inputs": [asdict(variable) for variable in table.inputs],
        "extras": table.extras,
        "levels": table.levels,
        "simulated": counts,
        "n_visits": table.account.kept,
        "n_patients": int(table.frame.loc[:, "patient"].nunique()) if "patient" in table.frame else None,
        "crossed": 100 * float(table.outcome.mean()),
    }
    return Outcome(
        {"table1_rows": rows(table.account), "table2_variables": variables(table, study.settings)},
        values,
        {"planted": planted} if planted is not None else {},
        {"visits": table.frame},
        tuple(table.account.warnings),
    )


def rows(account: Account) -> pd.DataFrame:
    """Return what became of the rows: read, left out, dropped by rule, kept."""
    lines = [("read", account.rows_read), ("left out by filters of the mapping", account.filtered_out)]
    lines += [(f"dropped: {drop.rule}", drop.rows) for drop in account.dropped]
    lines += [("kept", account.kept)]
    table = pd.DataFrame(lines, columns=pd.Index(["rows", "n"]))
    return table.assign(percent=100 * table["n"] / max(account.rows_read, 1))


def variables(table: VisitTable, settings: PaperSettings) -> pd.DataFrame:
    """Return the outcome and every input with how it is scaled, its mean and deviation (Table 2).

    Blank where fewer than `min_patients` patients are known, or have the rarer value of a 0/1 column.
    """
    patients = table.frame["patient"].to_numpy() if "patient" in table.frame else np.arange(len(table.frame))

    def few(part: np.ndarray) -> bool:
        seen = np.zeros(patients.max() + 1, bool)
        seen[patients[part]] = True
        return bool(seen.sum() < settings.min_patients)

    lines = []
    for variable in (CROSS_DISTRICT, *table.inputs):
        values = table.frame[variable.name].to_numpy(np.float64)
        known = ~np.isnan(values)
        parts = [known] if variable.kind == "numeric" else [values == 0, values == 1]
        # Nobody has, or everybody: that gives no one away.
        blank = not known.any() or any(few(part) for part in parts if part.any())
        factor, unit = (100, "percent") if variable.kind == "binary" else (1, variable.unit)
        scaled = "held out of the clustering" if variable.name == OUTCOME else "as it is (0/1)"
        lines.append(
            {
                "variable": variable.name,
                "label": variable.label,
                "group": variable.group,
                "scaling": "z-score" if variable.kind == "numeric" else scaled,
                "unit": unit,
                "mean": np.nan if blank else factor * values[known].mean(),
                "sd": np.nan if blank or variable.kind == "binary" else values[known].std(),
                "missing_percent": 100 * (1 - known.mean()),
            }
        )
    return pd.DataFrame(lines)


def load(study: Study) -> Cohort:
    """Return the cohort of a run, read back once."""
    return study.derived("cohort", lambda: _load(study))


def _load(study: Study) -> Cohort:
    found = study.outcome("cohort")
    table = visit_table(found)
    scaling = fit_scaling(table.frame, table.inputs)
    x = layouts.place(jnp.asarray(to_matrix(table.frame, scaling)), study.settings.training.layout)
    return Cohort(table, scaling, x, found.arrays.get("planted"))


def visit_table(found: Outcome) -> VisitTable:
    """Return the visits of a run from what was kept of them."""
    values: Mapping[str, Any] = found.values
    inputs = tuple(Variable(**one) for one in values["inputs"])
    account = values["account"]
    account = Account(**account | {"dropped": tuple(Dropped(**one) for one in account["dropped"])})
    levels = {name: tuple(codes) for name, codes in values["levels"].items()}
    return VisitTable(found.frames["visits"], inputs, tuple(values["extras"]), account, levels)


STAGE = Stage(
    "cohort",
    "section 2.1, Tables 1 and 2",
    (),
    ("min_patients",),
    compute,
)
