"""What the commands beside `jvade paper` do: `features`, `simulate`, `mapping init`, `sweep`."""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from jvade import sweeps
from jvade.analysis import fidelity
from jvade.checkpoints import Checkpoints
from jvade.core.fit import MixtureStart
from jvade.core.settings import Architecture, Hyperparameters, Training
from jvade.data import draft, published
from jvade.data.district import tables
from jvade.data.engines import EngineSettings, scratch
from jvade.data.errors import InputError
from jvade.data.features import read_visits, write_features
from jvade.data.mapping import read_mapping
from jvade.data.matrix import Encoding, fit_scaling, to_matrix
from jvade.paper import manifest
from jvade.paper.stage import CHECKPOINTS, PRIVATE
from jvade.paper.stages.training import show
from jvade.report.document import number
from jvade.report.folder import RunFolder
from jvade.report.terminal import Terminal


@dataclass(frozen=True)
class FeaturesSettings:
    """Turn a table of visits into the inputs of the study, as Parquet.

    Args:
        visits: your visit table: CSV, Parquet, or a folder of parts.
        mapping: TOML file that says which of its columns plays which part; `jvade mapping init` drafts one.
        out: folder of the results: features.parquet (original units), encoding.json (order, categories and
            scaling of the inputs) and run.json (versions, fingerprints, the account of the rows).
        encoding: encoding.json of an earlier run, whose inputs and categories these visits get.
        tables: where tables are computed.
    """

    visits: Path
    mapping: Path
    out: Path
    encoding: Path | None = None
    tables: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True)
class SimulateSettings:
    """Write the raw tables of a simulated district, in the shape of Table 7.

    Args:
        out: folder to write to; new or empty.
        visits: visits to simulate, met to within a fraction of a percent.
        patients: patients; as many per visit as in the study if not given.
        seed: of every draw.
        check: also read the tables back, and print Table 7 of the planted types beside the published one.
        tables: where --check computes.
    """

    out: Path
    visits: int = 3_650_000
    patients: int | None = None
    seed: int = 42
    check: bool = False
    tables: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True)
class Over:
    """Values to try of each setting; one without values is that of --model.

    Args:
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        clip_norm: largest norm of a gradient.
        noise_variance: of the decoder.
        kl_weight: factor of the KL terms in training; the ranking is at 1.
        patience: epochs without a better validation loss before a run stops.
        latent_dim: latents.
        n_clusters: clusters.
    """

    learning_rate: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    clip_norm: tuple[float, ...] = ()
    noise_variance: tuple[float, ...] = ()
    kl_weight: tuple[float, ...] = ()
    patience: tuple[int, ...] = ()
    latent_dim: tuple[int, ...] = ()
    n_clusters: tuple[int, ...] = ()


@dataclass(frozen=True)
class SweepSettings:
    """Train VaDE with every combination of some settings from several seeds, and rank the settings.

    Args:
        visits: your visit table: CSV, Parquet, or a folder of parts.
        mapping: TOML file that says which of its columns plays which part; `jvade mapping init` drafts one.
        out: folder of the results: sweep.csv (a row per combination and seed, the best first) and run.json.
        over: the values to try.
        seeds: seeds that each combination is trained from.
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        widths: hidden widths of the encoder; the decoder mirrors them.
        model: the settings that are not tried.
        training: batches, epochs, split.
        mixture: how the mixture starts.
        tables: where tables are computed.
    """

    visits: Path
    mapping: Path
    out: Path
    over: Over = field(default_factory=Over)
    seeds: tuple[int, ...] = (1, 2, 3)
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    widths: tuple[int, ...] = Architecture.widths
    model: Hyperparameters = field(default_factory=Hyperparameters)
    training: Training = field(default_factory=Training)
    mixture: MixtureStart = field(default_factory=MixtureStart)
    tables: EngineSettings = field(default_factory=EngineSettings)


def features(settings: FeaturesSettings, terminal: Terminal) -> None:
    """Write the features of a table of visits, their encoding and a manifest.

    Raises:
        InputError: the visits, the mapping or the encoding cannot be used; nothing was written.
    """
    began = datetime.now(UTC)
    mapping = read_mapping(settings.mapping)
    encoding = Encoding.read(settings.encoding) if settings.encoding else None
    with scratch(settings.tables) as temp:
        unfinished = temp / "features.parquet"
        with terminal.step("features"):
            levels = encoding.levels if encoding else None
            made = write_features(settings.visits, mapping, unfinished, levels, settings.tables)
        if encoding:
            encoding.check(variable.name for variable in made.inputs)
        folder = RunFolder(settings.out)  # from here on nothing can be wrong with the input
        folder.file(unfinished.name, lambda path: shutil.move(unfinished, path))
    encoding = encoding or Encoding(made.inputs, made.levels, made.scaling)
    folder.file("encoding.json", encoding.write)
    folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "seconds": terminal.seconds,
            "versions": manifest.versions(),
            "settings": manifest.plain(settings),
            "input": manifest.fingerprints(settings.visits, settings.mapping),
            "account": manifest.plain(made.account),
        }
    )
    for line in made.account.lines():
        terminal.say(f"  {line}")
    terminal.say(f"{len(made.inputs)} inputs: {', '.join(variable.name for variable in made.inputs)}")
    terminal.say(f"Everything is in {settings.out}.")


def simulate(settings: SimulateSettings, terminal: Terminal) -> None:
    """Write a district, and print how near it comes to the published one if asked to.

    Raises:
        InputError: a number is out of range, or the folder is in use.
    """
    with terminal.step("district"):
        written = tables.write(
            settings.out,
            settings.visits,
            settings.patients,
            settings.seed,
            lambda done, total: terminal.progress("patients", done, total),
        )
    terminal.say(
        f"{settings.out}: {written.visits:,} visits of {written.patients:,} patients, "
        f"{written.missing_cost:,} without a cost."
    )
    if not settings.check:
        return
    with terminal.step("check"):
        table = read_visits(
            settings.out / "visits", read_mapping(settings.out / "mapping.toml"), settings=settings.tables
        )
        types = pq.read_table(settings.out / "truth.parquet")["planted_type"].to_numpy()
        planted = types[table.frame["row"].to_numpy() - 1]
        found = fidelity.compare(table.frame, planted, published.load("table7_profiles"))
        # Of the raw table, where the visits without a cost still are.
        raw = pq.read_table(settings.out / "visits", columns=["cost", "patient_id"])
        who = raw["patient_id"].dictionary_encode().unify_dictionaries().combine_chunks().indices
        notes = fidelity.describe(raw.select(["cost"]).to_pandas(), who.to_numpy())
    wide = found.wide()
    wide["variable"] += [" (%)" if unit.startswith("percent") else f" ({unit})" for unit in wide["unit"]]
    wide = wide.drop(columns=["group", "unit"])
    terminal.table("Table 7 of the planted types, by type; published in brackets", wide)
    for line in found.lines():
        terminal.say(line)
    asked = f"{notes['visits'] / settings.visits - 1:+.2%} of what was asked"
    missing = notes["percent of visits without a cost"]
    terminal.say(f"visits: {notes['visits']:,.0f}, {asked}; {missing:.2f}% without a cost")
    mean, spread, most = (
        notes[f"visits per patient, {name}"] for name in ("mean", "standard deviation", "most")
    )
    terminal.say(f"visits per patient: mean {mean:.2f}, standard deviation {spread:.2f}, at most {most:.0f}")


def sweep(settings: SweepSettings, terminal: Terminal) -> None:
    """Train every combination of settings, and write and print how they rank.

    Raises:
        InputError: the visits, the mapping or a value to try cannot be used; nothing was written.
    """
    began = datetime.now(UTC)
    over = {name: values for name, values in vars(settings.over).items() if values}
    try:
        for one in sweeps.combinations(settings.model, over):
            one.check()
    except ValueError as error:
        raise InputError([str(error)], "settings") from None
    key = manifest.key(
        settings=manifest.plain(settings), input=manifest.fingerprints(settings.visits, settings.mapping)
    )
    with terminal.step("features"):
        table = read_visits(settings.visits, read_mapping(settings.mapping), settings=settings.tables)
    for line in table.account.lines():
        terminal.say(f"  {line}")
    folder = RunFolder(settings.out)
    checkpoints = settings.out / PRIVATE / CHECKPOINTS
    with terminal.step("sweep"):
        found = sweeps.sweep(
            to_matrix(table.frame, fit_scaling(table.frame, table.inputs)),
            over,
            seeds=settings.seeds,
            base=settings.model,
            widths=settings.widths,
            training=settings.training,
            mixture=settings.mixture,
            on_block=show(terminal),
            keeper=Checkpoints(checkpoints / key[:16]),
        )
    folder.table("sweep", found.table)
    folder.finish(
        {
            "jvade": manifest.versions()["jvade"],
            "began": began.isoformat(timespec="seconds"),
            "seconds": terminal.seconds,
            "peak_memory_gb": round(manifest.peak_memory_gb(), 2),
            "device": manifest.device(),
            "versions": manifest.versions(),
            "settings": manifest.plain(settings),
            "input": manifest.fingerprints(settings.visits, settings.mapping),
            "account": manifest.plain(table.account),
            "warnings": found.failures,
        }
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    for failure in found.failures:
        terminal.say(f"  warning: {failure}", "yellow")
    means = found.summary().head(10)
    terminal.table(
        f"The best {len(means)} of {len(found.table) // len(settings.seeds)} settings, means of"
        f" {len(settings.seeds)} seeds; held-out ELBO in nats per visit, higher is better",
        means.map(number),
    )
    terminal.say(f"Everything is in {settings.out}.")


def draft_mapping(file: Path, out: Path | None) -> None:
    """Print the draft of a mapping, or write it to a file that does not exist yet.

    Raises:
        InputError: the file cannot be read, or `out` exists.
    """
    text = draft.draft(file)
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise InputError(["there is such a file already; name another"], out.name) from None
    print(f"{out}: look through it, then: jvade features --visits {file} --mapping {out} --out DIR")
