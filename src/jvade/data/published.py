"""The tables of the study, as published, to stand beside our own results and never in place of them."""

from importlib.resources import files
from typing import Literal, get_args

import pandas as pd

Table = Literal[
    "table3_latent_dimension",
    "table4_latent_correlation",
    "table5_comparison",
    "table6_stability",
    "table7_profiles",
]
TABLES: tuple[Table, ...] = get_args(Table)


def load(name: Table) -> pd.DataFrame:
    """Return one published table.

    Args:
        name: one of `TABLES`. A blank cell of Table 4 (a correlation the study does not report) is NaN.

    Returns:
        The table with the units it was published in: percent, years, yuan and counts in Table 7.

    Raises:
        ValueError: there is no such table.
    """
    if name not in TABLES:
        raise ValueError(f"no published table '{name}'; expected one of {', '.join(TABLES)}")
    with (files("jvade.data") / "published" / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def types() -> str:
    """Return the study's seven types and its advice for them, as the TOML file that a person may edit."""
    return (files("jvade.data") / "published" / "types.toml").read_text(encoding="utf-8")


def type_means() -> pd.DataFrame:
    """Return Table 7 as numbers: a row per variable, a column per type (1 to 7), the published units.

    The first row, `share_of_visits`, holds the share of each type in percent.
    """
    table = load("table7_profiles").set_index("variable")
    return pd.DataFrame({i: table[f"cluster{i}"] for i in range(1, 8)})
