"""The raw tables of a district as Parquet: what an authority would hand over, and the planted truth."""

import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jvade.data.district import codes, places
from jvade.data.district.choices import STUDY_PATIENTS, STUDY_VISITS, SUBDISTRICTS
from jvade.data.district.draw import YEAR_BEGIN, Block, blocks
from jvade.data.errors import InputError

#: Visits of one patient get numbers from this one's multiple on, in order of time.
STRIDE = 10_000
ROWS_PER_GROUP = 2**17

# Without the Arrow schema in the file, text encoded by a dictionary is plain text to every reader.
_FORMAT: dict[str, Any] = {"compression": "zstd", "store_schema": False}
_DELTA: dict[str, Any] = {"visit_id": "DELTA_BINARY_PACKED"}
_REPEATED: Any = [
    "patient_id",
    "date",
    "birth_date",
    "sex",
    "residence",
    "institution_id",
    "diagnosis",
]


class Written(NamedTuple):
    """What was written.

    Args:
        patients: all of them have a visit.
        visits: rows of the visits table.
        missing_cost: visits without a cost.
        parts: files of the visits table.
    """

    patients: int
    visits: int
    missing_cost: int
    parts: int


def write(
    folder: Path | str,
    n_visits: int = STUDY_VISITS,
    n_patients: int | None = None,
    seed: int = 42,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Simulate a district and write its tables; they appear all at once, when they are complete.

    - `visits/part-0000.parquet` and so on, by (date, visit_id) within a part: visit_id, patient_id, date,
      birth_date, sex, residence, institution_id, cost, diagnosis, hypertension, diabetes. The visits of one
      patient are all in one part, and of one day in the order of visit_id.
    - `institutions.parquet`: institution_id, area, level, specialty.
    - `areas.parquet`: area, district, zone, destination. A visit crosses where the district of the residence
      is not that of the institution's area.
    - `mapping.toml`: how these tables play the parts of a mapping.
    - `truth.parquet`: visit_id, planted_type, in the order of the visits. Only an evaluation reads it.

    The same arguments give the same bytes, with the same versions of this package and of its requirements.
    Parts are whole blocks of patients, so fewer patients at the same ratio give the first of the same parts.

    Args:
        folder: where to; new or empty.
        n_visits: visits wanted, met to a fraction of a percent.
        n_patients: patients; as many per visit as in the study if not given.
        seed: of every draw, from 0.
        progress: called with patients written and patients in all, first with 0.

    Raises:
        InputError: the folder is not empty, or is a file, or a number is out of range.
    """
    folder = Path(folder)
    if n_patients is None:
        n_patients = max(1, round(n_visits * STUDY_PATIENTS / STUDY_VISITS))
    try:
        drawn = blocks(n_visits, n_patients, seed)  # numbers are checked before any file is touched
    except ValueError as error:
        raise InputError([str(error)], "settings") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(["expected a new or empty folder, got one in use; name another"], folder.name)
    unfinished = folder.with_name(f".unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "visits").mkdir(parents=True)
    report = progress or (lambda done, total: None)
    try:
        _write_places(unfinished)
        mapping = (files("jvade.data.district") / "mapping.toml").read_bytes()
        (unfinished / "mapping.toml").write_bytes(mapping)
        total = Written(0, 0, 0, 0)
        truth_schema = pa.schema({"visit_id": pa.int64(), "planted_type": pa.int8()})
        report(0, n_patients)
        with pq.ParquetWriter(
            unfinished / "truth.parquet",
            truth_schema,
            use_dictionary=False,
            column_encoding=_DELTA,
            **_FORMAT,
        ) as truth:
            for part, block in enumerate(drawn):
                table, planted = visits(block)
                pq.write_table(
                    table,
                    unfinished / "visits" / f"part-{part:04}.parquet",
                    use_dictionary=_REPEATED,
                    column_encoding=_DELTA,
                    row_group_size=ROWS_PER_GROUP,
                    **_FORMAT,
                )
                truth.write_table(planted)
                total = Written(
                    total.patients + len(block.patients.number),
                    total.visits + len(table),
                    total.missing_cost + table["cost"].null_count,
                    part + 1,
                )
                report(total.patients, n_patients)
        if folder.exists():
            folder.rmdir()
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return total


def visits(block: Block) -> tuple[pa.Table, pa.Table]:
    """Return a block as a part of the visits table, and the planted types of the same rows."""
    people = block.patients
    # Stable: the block is in order of patient and time, so of visit_id.
    order = np.argsort(block.day, kind="stable")
    patient = block.patient[order]
    number = people.number[patient] * STRIDE + block.turn[order]

    def text(codes: np.ndarray, names: list[str]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)

    table = pa.table(
        {
            "visit_id": number,
            "patient_id": text(patient, [f"P{n:07}" for n in people.number]),
            "date": YEAR_BEGIN + block.day[order],
            "birth_date": people.birth[patient],
            "sex": text(people.female[patient], ["M", "F"]),
            "residence": text(people.subdistrict[patient], list(SUBDISTRICTS)),
            "institution_id": text(
                block.institution[order], places.institutions()["institution_id"].tolist()
            ),
            "cost": pa.array(block.cost[order], from_pandas=True),
            "diagnosis": text(block.code[order], list(codes.NAMES)),
            "hypertension": people.hypertension[patient].astype(np.int8),
            "diabetes": people.diabetes[patient].astype(np.int8),
        }
    )
    return table, pa.table({"visit_id": number, "planted_type": block.kind[order] + np.int8(1)})


def _write_places(folder: Path) -> None:
    """Write the areas and the institutions."""
    institutions = places.institutions().drop(columns="cell")
    for name, table in (("areas", places.areas()), ("institutions", institutions)):
        whole = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
        pq.write_table(whole, folder / f"{name}.parquet", **_FORMAT)
