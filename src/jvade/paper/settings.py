"""The settings of a run of the study, and the presets that fill them in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jvade.analysis import profiles
from jvade.core.fit import MixtureStart
from jvade.core.settings import Hyperparameters, Training
from jvade.data.engines import EngineSettings
from jvade.data.errors import InputError

PresetName = Literal["quick", "full", "smoke"]


@dataclass(frozen=True)
class PaperSettings:
    """Reproduce the study, on a simulated district or on your own visits.

    Args:
        preset: "quick" (200,000 simulated visits, minutes on two cores), "full" (3.65 million), "smoke"
            (a check that everything runs; its results mean nothing). Every other flag overrides it.
        visits: your visit table, CSV or Parquet, instead of the simulated district; needs --mapping.
        mapping: TOML file that says which of its columns plays which part; see examples/.
        out: folder of the results; results/PRESET or results/NAME-OF-VISITS if not given.
        n_visits: visits to simulate, where --visits is not given.
        seed: every random draw descends from it.
        device: where to compute; "auto" takes an accelerator if JAX finds one.
        index_rows: size of the random subset that the three indices are taken on.
        bic_clusters: smallest and largest number of clusters on the BIC curve (Fig 4).
        kmeans_clusters: clusters of K-Means on the inputs (Table 5).
        vae_kmeans_clusters: clusters of K-Means on the VAE's latents (Table 5).
        tables: where tables are computed.
        min_patients: numbers with fewer patients behind them stay blank in every table and figure.
        widths: hidden widths of the encoder; the decoder mirrors them.
        model: the network and its optimiser.
        training: batches, epochs, split.
        mixture: how the mixture starts.
    """

    preset: PresetName = "quick"
    visits: Path | None = None
    mapping: Path | None = None
    out: Path | None = None
    n_visits: int = 200_000
    seed: int = 42
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    index_rows: int = 10_000
    bic_clusters: tuple[int, int] = (2, 10)
    kmeans_clusters: int = 10
    vae_kmeans_clusters: int = 9
    min_patients: int = profiles.MIN_PATIENTS
    widths: tuple[int, ...] = (256,)
    model: Hyperparameters = field(default_factory=Hyperparameters)
    training: Training = field(default_factory=Training)
    mixture: MixtureStart = field(default_factory=MixtureStart)
    tables: EngineSettings = field(default_factory=EngineSettings)

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
        low, high = self.bic_clusters
        model, mixture = self.model, self.mixture
        at_least = {
            "--seed": (self.seed, 0),
            "--n-visits": (self.n_visits, 1),
            "--index-rows": (self.index_rows, 3),
            "--bic-clusters": (low, 1),
            "--kmeans-clusters": (self.kmeans_clusters, 1),
            "--vae-kmeans-clusters": (self.vae_kmeans_clusters, 1),
            "--min-patients": (self.min_patients, 1),
            "--widths": (min(self.widths, default=0), 1),
            "--model.latent-dim": (model.latent_dim, 1),
            "--model.n-clusters": (model.n_clusters, 1),
            "--model.patience": (model.patience, 1),
            "--model.weight-decay": (model.weight_decay, 0),
            "--model.kl-weight": (model.kl_weight, 0),
            "--mixture.n-rows": (mixture.n_rows, max(high, model.n_clusters) + 1),
            "--mixture.n-init": (mixture.n_init, 1),
            "--mixture.short-iter": (mixture.short_iter, 0),
            "--mixture.max-iter": (mixture.max_iter, 1),
            "--mixture.tol": (mixture.tol, 0),
            "--mixture.reg-covar": (mixture.reg_covar, 0),
        }
        above_zero = {
            "--model.learning-rate": model.learning_rate,
            "--model.noise-variance": model.noise_variance,
            "--model.clip-norm": model.clip_norm,
        }
        # Asked this way round, NaN is refused as well.
        problems += [
            f"{flag}: expected at least {least}, got {value}"
            for flag, (value, least) in at_least.items()
            if not value >= least
        ]
        problems += [
            f"{flag}: expected a number above 0, got {value}"
            for flag, value in above_zero.items()
            if not value > 0
        ]
        if low > high:
            problems.append(f"--bic-clusters: expected the smaller number first, got {low} {high}")
        if problems:
            raise InputError(problems, "settings")

    def check_size(self, n_visits: int) -> None:
        """Refuse a table too small to be clustered.

        Raises:
            InputError: how many visits there are and how many it takes.
        """
        most = max(
            self.kmeans_clusters, self.vae_kmeans_clusters, self.model.n_clusters, self.bic_clusters[1]
        )
        if n_visits <= most:
            raise InputError(
                [f"{n_visits} visits are too few for {most} clusters; give more or ask for fewer clusters"]
            )


PRESETS: dict[PresetName, PaperSettings] = {
    "quick": PaperSettings(),
    "full": PaperSettings(preset="full", n_visits=3_650_000),
    "smoke": PaperSettings(
        preset="smoke",
        n_visits=3_000,
        index_rows=500,
        bic_clusters=(2, 4),
        training=Training(batch_size=256, max_epochs=2),
        mixture=MixtureStart(n_rows=1_000, n_init=4),
    ),
}
