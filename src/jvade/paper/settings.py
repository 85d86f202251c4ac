"""The settings of a run of the study, and the presets that fill them in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jvade.analysis import profiles
from jvade.clustering import ROBUST, Configuration
from jvade.core.fit import MixtureStart
from jvade.core.gmm import EmSettings
from jvade.core.settings import Hyperparameters, Training
from jvade.data.engines import EngineSettings
from jvade.data.errors import InputError

PresetName = Literal["quick", "full", "smoke"]
DeviceName = Literal["auto", "cpu", "gpu", "tpu"]
StageName = Literal[
    "cohort",
    "pretraining",
    "grid",
    "sensitivity",
    "number-of-clusters",
    "fine-tuning",
    "latents",
    "robust",
    "comparison",
    "stability",
    "profiles",
    "readings",
]


@dataclass(frozen=True)
class Search:
    """Mixtures of every number of clusters on the latents of every dimension (section 2.2 and 2.4).

    Args:
        latent_dims: numbers of latents.
        clusters: smallest and largest number of clusters.
        index_rows: size of the random subset that the indices of each mixture are taken on.
        em: how each mixture is looked for.
    """

    latent_dims: tuple[int, ...]
    clusters: tuple[int, int]
    index_rows: int
    em: EmSettings

    @property
    def n_clusters(self) -> range:
        """Every number of clusters."""
        return range(self.clusters[0], self.clusters[1] + 1)


@dataclass(frozen=True)
class Readings:
    """What the study leaves open, tried beside what we chose; every list is tried alone.

    Args:
        n_rows: visits that each reading is trained on, a random subset.
        noise_variances: of the decoder.
        index_rows: sizes of the subset that the indices are taken on.
    """

    n_rows: int = 200_000
    noise_variances: tuple[float, ...] = (0.03, 0.3, 1.0)
    index_rows: tuple[int, ...] = (1_000, 3_000, 10_000)


@dataclass(frozen=True)
class PaperSettings:
    """Reproduce the study, on a simulated district or on your own visits.

    Args:
        preset: "quick" (200,000 simulated visits, few epochs, minutes on two cores), "full" (3.65 million,
            the epochs of section 2.3), "smoke" (a check that everything runs; its results mean nothing).
            Every other flag overrides it.
        visits: your visit table, CSV or Parquet, instead of the simulated district; needs --mapping.
        mapping: TOML file that says which of its columns plays which part; see examples/.
        out: folder of the results; results/PRESET or results/NAME-OF-VISITS if not given.
        only: stages to bring up to date, with those they need; all if not given. What an earlier run of the
            same settings finished is kept in any case.
        resume: keep what an earlier run has finished, and go on from there; --no-resume computes it again.
        n_visits: visits to simulate, where --visits is not given.
        seed: every random draw descends from it.
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        index_rows: size of the random subset that the three indices are taken on.
        index_subsets: how many such subsets, for the sampling error.
        grid: number of latents against number of clusters (Figs 1 and 4).
        sensitivity: the same over a wider range (Table 3).
        kmeans_clusters: clusters of K-Means on the inputs (Table 5).
        vae_kmeans_clusters: clusters of K-Means on the VAE's latents (Table 5).
        stability_seeds: seeds of the runs whose agreement is measured (Table 6).
        n_boot: replicates of the bootstrap over patients (Table 7).
        readings: what the study leaves open.
        show_all: print every variable of Table 7, not only the published ones and those with a CV of 0.3.
        tables: where tables are computed.
        min_patients: numbers with fewer patients behind them stay blank in every table and figure.
        widths: hidden widths of the encoder of the study's model; the decoder mirrors them.
        model: the network and its optimiser.
        training: batches, epochs, split.
        mixture: how the mixture starts.
        robust: our own configuration, beside the study's methods in Table 5.
    """

    preset: PresetName = "quick"
    visits: Path | None = None
    mapping: Path | None = None
    out: Path | None = None
    only: tuple[StageName, ...] = ()
    resume: bool = True
    n_visits: int = 200_000
    seed: int = 42
    device: DeviceName = "auto"
    index_rows: int = 10_000
    index_subsets: int = 3
    grid: Search = Search(
        (2, 5, 10), (2, 10), 5_000, EmSettings(n_init=10, n_continued=2, max_iter=100, tol=1e-4)
    )
    sensitivity: Search = Search(
        (2, 5, 10, 15, 20, 25, 30),
        (2, 30),
        1_000,
        EmSettings(n_rows=4_000, n_init=4, n_continued=1, short_iter=5, max_iter=60, tol=1e-4),
    )
    kmeans_clusters: int = 10
    vae_kmeans_clusters: int = 9
    stability_seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    n_boot: int = 200
    readings: Readings = field(default_factory=Readings)
    show_all: bool = False
    min_patients: int = profiles.MIN_PATIENTS
    widths: tuple[int, ...] = (256,)
    model: Hyperparameters = field(default_factory=Hyperparameters)
    training: Training = field(default_factory=Training)
    mixture: MixtureStart = field(default_factory=MixtureStart)
    robust: Configuration = ROBUST
    tables: EngineSettings = field(default_factory=EngineSettings)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Every number of latents that a VAE is pretrained with, ascending."""
        return tuple(sorted({*self.grid.latent_dims, *self.sensitivity.latent_dims, self.model.latent_dim}))

    @property
    def folder(self) -> Path:
        """Where the results go."""
        if self.out is not None:
            return self.out
        return Path("results") / (self.preset if self.visits is None else self.visits.name.split(".")[0])

    def check(self) -> None:
        """Refuse settings that cannot work, before any file is read.

        Raises:
            InputError: what was expected of which flags, and what came.
        """
        problems = []
        if (self.visits is None) != (self.mapping is None):
            given, missing = ("--visits", "--mapping") if self.mapping is None else ("--mapping", "--visits")
            problems.append(f"{given} needs {missing} as well: a table and the mapping of its columns")
        model = self.model
        at_least = {
            "--seed": (self.seed, 0),
            "--n-visits": (self.n_visits, 1),
            "--index-rows": (self.index_rows, 3),
            "--index-subsets": (self.index_subsets, 1),
            "--kmeans-clusters": (self.kmeans_clusters, 1),
            "--vae-kmeans-clusters": (self.vae_kmeans_clusters, 1),
            "--stability-seeds": (min(self.stability_seeds, default=-1), 0),
            "--n-boot": (self.n_boot, 1),
            "--readings.n-rows": (self.readings.n_rows, model.n_clusters + 2),
            "--readings.index-rows": (min(self.readings.index_rows, default=3), 3),
            "--min-patients": (self.min_patients, 1),
            "--widths": (min(self.widths, default=0), 1),
            "--model.latent-dim": (model.latent_dim, 1),
            "--model.n-clusters": (model.n_clusters, 1),
            "--model.patience": (model.patience, 1),
            "--model.weight-decay": (model.weight_decay, 0),
            "--model.kl-weight": (model.kl_weight, 0),
        }
        for name, search in (("grid", self.grid), ("sensitivity", self.sensitivity)):
            low, high = search.clusters
            at_least |= {
                f"--{name}.latent-dims": (min(search.latent_dims, default=0), 1),
                f"--{name}.clusters": (low, 2),
                f"--{name}.index-rows": (search.index_rows, 3),
            }
            at_least |= em_limits(f"--{name}.em", search.em, high)
            if low > high:
                problems.append(f"--{name}.clusters: expected the smaller number first, got {low} {high}")
        at_least |= em_limits("--mixture", self.mixture, model.n_clusters)
        at_least |= em_limits("--robust.mixture", self.robust.mixture, self.robust.model.n_clusters)
        at_least |= {
            "--robust.n-runs": (self.robust.n_runs, 1),
            "--robust.model.latent-dim": (self.robust.model.latent_dim, 1),
            "--robust.model.n-clusters": (self.robust.model.n_clusters, 1),
        }
        above_zero = {
            "--model.learning-rate": model.learning_rate,
            "--model.noise-variance": model.noise_variance,
            "--model.clip-norm": model.clip_norm,
            "--readings.noise-variances": min(self.readings.noise_variances, default=1.0),
        }
        problems += below(at_least)
        problems += [
            f"{flag}: expected a number above 0, got {value}"
            for flag, value in above_zero.items()
            if not value > 0
        ]
        try:
            model.check()
        except ValueError as error:
            problems = problems or [f"--model: {error}"]
        if problems:
            raise InputError(problems, "settings")

    def check_size(self, n_visits: int) -> None:
        """Refuse a table too small to be clustered.

        Raises:
            InputError: how many visits there are and how many it takes.
        """
        most = max(
            self.kmeans_clusters,
            self.vae_kmeans_clusters,
            self.model.n_clusters,
            self.robust.model.n_clusters,
            self.grid.clusters[1],
            self.sensitivity.clusters[1],
        )
        check_size(n_visits, most)


def check_size(n_visits: int, most_clusters: int) -> None:
    """Refuse a table too small for so many clusters.

    Raises:
        InputError: how many visits there are and how many it takes.
    """
    if n_visits <= most_clusters:
        advice = "give more or ask for fewer clusters"
        raise InputError([f"{n_visits} rows are too few for {most_clusters} clusters; {advice}"])


def below(at_least: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return a line for each flag whose value is below the least it may be."""
    # Asked this way round, NaN is refused as well.
    return [
        f"{flag}: expected at least {least}, got {value}"
        for flag, (value, least) in at_least.items()
        if not value >= least
    ]


def em_limits(flag: str, em: EmSettings, most_clusters: int) -> dict[str, tuple[float, float]]:
    """Return each setting of EM with the least it may be."""
    return {
        f"{flag}.n-rows": (em.n_rows, most_clusters + 1),
        f"{flag}.n-init": (em.n_init, 1),
        f"{flag}.n-continued": (em.n_continued, 1),
        f"{flag}.short-iter": (em.short_iter, 0),
        f"{flag}.max-iter": (em.max_iter, 1),
        f"{flag}.tol": (em.tol, 0),
        f"{flag}.reg-covar": (em.reg_covar, 0),
    }


_quick = PaperSettings()
_few = EmSettings(n_rows=1_000, n_init=4, n_continued=2, short_iter=3, max_iter=20)

PRESETS: dict[PresetName, PaperSettings] = {
    "quick": replace(
        _quick,
        training=Training(max_epochs=6),
        mixture=MixtureStart(n_rows=10_000, n_init=20, n_continued=2),
        readings=Readings(n_rows=30_000, noise_variances=(1.0,)),
    ),
    "full": replace(
        _quick,
        preset="full",
        n_visits=3_650_000,
        training=Training(block_epochs=2),  # an epoch of all lanes takes the better part of a minute
        grid=replace(
            _quick.grid,
            latent_dims=_quick.sensitivity.latent_dims,
            em=replace(_quick.grid.em, n_rows=200_000),
        ),
        sensitivity=replace(
            _quick.sensitivity, index_rows=5_000, em=replace(_quick.sensitivity.em, n_rows=20_000)
        ),
    ),
    "smoke": replace(
        _quick,
        preset="smoke",
        n_visits=3_000,
        index_rows=300,
        index_subsets=2,
        grid=Search((1, 2), (2, 4), 300, _few),
        sensitivity=Search((2, 3), (2, 4), 300, _few),
        stability_seeds=(1, 2),
        n_boot=20,
        # All visits: their programs are those of the other stages.
        readings=Readings(n_rows=3_000, noise_variances=(1.0,), index_rows=(100, 200)),
        training=Training(batch_size=256, max_epochs=2),
        mixture=MixtureStart(n_rows=1_000, n_init=4),
        robust=replace(
            ROBUST,
            training=replace(
                ROBUST.training, batch_size=64, max_epochs=2, pretraining_epochs=1, epoch_batches=8
            ),
            mixture=MixtureStart(n_rows=1_000, n_init=4),
            n_runs=2,
        ),
    ),
}
