"""A small file of visits and the mapping that reads it."""

from pathlib import Path

import pandas as pd
import pytest

from jvade.data.mapping import Mapping, parse_mapping

MAPPING = """
patient = "PERSON"
visit = "VISIT"

[date]
column = "DAY"

[age]
column = "AGE"

[sex]
column = "SEX"
female = ["F"]
male = ["M"]

[outcome]
residence = "LIVES"
place = "TREATED"

[cost]
column = "COST"

[describe]
home = "LIVES"
hospital = "HOSPITAL"

[institution]
level = [
  { name = "tertiary", when = { GRADE = ["3*"] } },
  { name = "secondary", when = { GRADE = ["2*"] } },
]
default = "community"
specialty = { KIND = ["S"] }

[diagnosis]
principal = "DX1"
others = ["DX2"]

[chronic]
hypertension = "from diagnosis"
diabetes = { column = "DM", yes = ["1"] }

[subdistrict]
column = "STREET"

[[filter]]
column = "STATUS"
keep = ["ok"]

[[further]]
name = "waiting"
column = "WAIT"
kind = "numeric"
unit = "minutes"

[[further]]
name = "emergency"
column = "DOOR"
kind = "binary"
yes = ["E"]

[[further]]
name = "payer"
column = "PAYER"
kind = "categorical"
labels = { B = "basic insurance" }
"""

ROWS = """
PERSON VISIT DAY AGE SEX LIVES TREATED COST HOSPITAL GRADE KIND DX1 DX2 DM STREET STATUS WAIT DOOR PAYER
p1 1 2024-01-05 60 F A A 100.5 h1 3a G I10.x00 - 0 s1 ok 5 E B
p1 2 2024-01-05 60 F A B - h2 2b S J18.9 E11 0 s1 ok - O B
p1 3 2024-03-01 60 F A A 80 h3 1 G Z00 - 0 s1 ok 7.5 O B
p2 4 2023-12-30 31.5 M A B 20 h2 2b G M8140/3 - 1 s2 ok 1 O C
p2 5 2024-01-02 31.5 M A A 30 h3 1 G D48 I15 1 s2 ok 2 O C
p3 6 2024-02-02 5 F B B 15 h3 - G - - - s3 ok 3 E D
p3 7 2024-02-03 5 F B A 99 h1 3a G O80 - 0 s3 void 3 E D
"""


@pytest.fixture
def mapping() -> Mapping:
    return parse_mapping(MAPPING)


@pytest.fixture
def visits() -> pd.DataFrame:
    """Seven visits as text; a dash in the listing is a blank."""
    header, *rows = (line.split() for line in ROWS.strip().splitlines())
    return pd.DataFrame([[None if cell == "-" else cell for cell in row] for row in rows], columns=header)


@pytest.fixture
def write(tmp_path: Path):
    """Write a table as CSV or Parquet and return its path."""

    def write(frame: pd.DataFrame, ending: str = ".csv") -> Path:
        path = tmp_path / f"visits{ending}"
        if ending == ".parquet":
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False)
        return path

    return write
