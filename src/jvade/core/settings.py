"""The two halves of a configuration: what shapes the program, and what only changes numbers.

`Architecture` and `Training` are static: frozen, hashable, a new value means a new compilation.
`Hyperparameters` are traced: each lane of a stack has its own, and a sweep over them does not recompile (but
penalties and a balance that no lane has are in no program).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from numbers import Real as RealNumber
from typing import Any, Literal, NamedTuple, get_args

from jaxtyping import Array, Float, Int

#: A number, or the same number for every lane of a stack once it is traced.
Real = float | Float[Array, "*lanes"]
Count = int | Int[Array, "*lanes"]

#: Rows of a batch where nobody chose them (section 2.3), and batches that an epoch of a small table is cut
#: into, if they would else be fewer.
STUDY_BATCH, BATCHES = 1024, 16

Layout = Literal["auto", "vmap", "map"]
Likelihood = Literal["gaussian", "bernoulli", "categorical"]
Noise = Literal["fixed", "learned", "by-column"]
#: Of the clusters: of a variance for each latent, or of how they go together as well.
Covariance = Literal["diag", "full"]
#: Where a row's responsibilities are taken: at the posterior mean, or over the whole of q(z|x).
Responsibilities = Literal["mean", "quadrature"]


def unlike(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    least: int | float | None = None,
    most: int | float | None = None,
    above: int | float | None = None,
    below: int | float | None = None,
    nan: bool = False,
) -> list[str]:
    """Return what is wrong with a setting, a line or none.

    Args:
        name: of the setting.
        value: as a person gave it.
        whole: it has to be a whole number.
        least: it has to be so much at least.
        most: and so much at most.
        above: it has to be more than that.
        below: and less than that.
        nan: NaN will do.
    """
    limits = [f"at least {least}"] if least is not None else []
    limits += [f"at most {most}"] if most is not None else []
    limits += [f"above {above}"] if above is not None else []
    limits += [f"below {below}"] if below is not None else []
    is_number = isinstance(value, Integral if whole else RealNumber)
    number: Any = value
    fits = (
        is_number
        and (nan or number == number)
        and not (
            (least is not None and number < least)
            or (most is not None and number > most)
            or (above is not None and number <= above)
            or (below is not None and number >= below)
        )
    )
    kind = ["a whole number"] if whole else [] if limits and is_number and number == number else ["a number"]
    return [] if fits else [f"{name}: expected {', '.join(kind + limits)}, got {value!r}"]


def not_among(name: str, value: Any, known: Iterable[str]) -> list[str]:
    """Return what is wrong with a setting that has to be one of some words, a line or none."""
    words = [*known]
    return [] if value in words else [f"{name}: expected one of {', '.join(words)}, got {value!r}"]


def whole(value: Any) -> Any:
    """Return 2 for 2.0, which is what an array of numbers makes of it, and all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def not_widths(widths: Any) -> list[str]:
    """Return what is wrong with hidden widths, a line or none."""
    fits = isinstance(widths, tuple) and widths  # a list is no part of what a program is known by
    if fits and not any(unlike("", width, whole=True, least=1) for width in widths):
        return []
    return [f"widths: expected one or more whole numbers, at least 1, such as (256,), got {widths!r}"]


class Block(NamedTuple):
    """Neighbouring columns of a row with one likelihood.

    Args:
        likelihood: "gaussian" (numbers, each by itself), "bernoulli" (0/1 columns, each by itself), or
            "categorical": one variable, a 0/1 column for each of its categories but one, which is 0 in all.
        width: columns.
    """

    likelihood: Likelihood
    width: int


def joined(blocks: Sequence[Block], code_of: Sequence[str] | None = None) -> tuple[Block, ...]:
    """Return blocks with neighbours of one likelihood as one; each variable of categories stays its own.

    Args:
        blocks: likelihoods of the columns, in their order.
        code_of: of each block, the variable that its columns are codes of, "" for none: neighbours that are
            codes of one variable are the categories of that one. None: of no block.
    """
    found: list[Block] = []
    before = ""
    for block, variable in zip(blocks, code_of or [""] * len(blocks), strict=True):
        one = Block("categorical", block.width) if variable else block
        if found and (variable == before != "" or found[-1].likelihood == one.likelihood != "categorical"):
            found[-1] = one._replace(width=found[-1].width + one.width)
        else:
            found.append(one)
        before = variable
    return tuple(found)


@dataclass(frozen=True)
class Architecture:
    """Sizes of the networks and of the mixture (section 2.3).

    Args:
        n_features: width of a row, D.
        latent_dim: largest number of latents any lane uses, L.
        n_clusters: largest number of clusters any lane uses, K.
        widths: hidden widths of the encoder, input side first; the decoder mirrors them.
        blocks: likelihoods of the columns, in their order; none: all are Gaussian (section 2.3).
        noise: variance of the Gaussian columns: "fixed" at `Hyperparameters.noise_variance`, or from there
            "learned", one for all of them, or one "by-column".
        covariance_type: of the clusters, "diag" (section 2.2) or "full".
    """

    n_features: int
    latent_dim: int = 2
    n_clusters: int = 7
    widths: tuple[int, ...] = (256,)
    blocks: tuple[Block, ...] = ()
    noise: Noise = "fixed"
    covariance_type: Covariance = "diag"

    def __post_init__(self) -> None:
        problems = not_widths(self.widths)
        for name in ("n_features", "latent_dim", "n_clusters"):
            problems += unlike(name, getattr(self, name), whole=True, least=1)
        problems += not_among("noise", self.noise, get_args(Noise))
        problems += not_among("covariance_type", self.covariance_type, get_args(Covariance))
        for likelihood, width in self.blocks:
            problems += unlike("blocks: width", width, whole=True, least=1)
            if likelihood not in get_args(Likelihood):
                known = ", ".join(get_args(Likelihood))
                problems.append(f"blocks: expected likelihoods among {known}, got {likelihood!r}")
        if problems:
            raise ValueError("; ".join(problems))
        total = sum(block.width for block in self.blocks)
        if self.blocks and total != self.n_features:
            raise ValueError(f"blocks: expected {self.n_features} columns in all, got {total}")

    @property
    def all_blocks(self) -> tuple[Block, ...]:
        """The likelihoods of all columns, named or not."""
        return self.blocks or (Block("gaussian", self.n_features),)

    @property
    def n_noises(self) -> int:
        """Noise variances that are learned."""
        widths = [block.width for block in self.all_blocks if block.likelihood == "gaussian"]
        return {"fixed": 0, "learned": min(1, len(widths)), "by-column": sum(widths)}[self.noise]


@dataclass(frozen=True)
class Training:
    """How a stack of lanes is trained (section 2.3).

    Args:
        batch_size: rows of one step; the last, shorter batch of an epoch is used too. None: 1024 as in the
            study, but of a small table so few that all of its rows make 16 to 31 batches, and 32 at least.
        max_epochs: epochs at most, of each stage.
        validation_fraction: share of the rows held out for early stopping, in (0, 1).
        input_dropout: share of the inputs that the encoder does not see, drawn anew for every row of every
            step, in [0, 1); the decoder has to name them all the same (a denoising VAE, Im et al. 2017). Not
            in the study: 0. What several inputs tell together is then worth more than what one tells alone.
            Losses are those of the rows as the encoder sees them; clusters are given to whole rows.
        pretraining_epochs: epochs of the pretraining at most, where they are fewer than `max_epochs`.
        epoch_batches: batches of an epoch at most; None, as in the study: it is a pass over the training
            rows. Of a larger table, every epoch then takes so many batches of its rows, drawn anew, and is
            scored on as large a part of the rows held out, ever the same: there are no more steps than of a
            smaller one.
        block_epochs: epochs between two visits to the host (progress, compaction). Changes no result (but by
            rounding where devices take over a lane that is alone, which they do between blocks).
        layout: how lanes share the devices: "vmap" (one wide batch over all of them, for accelerators),
            "map" (a program each, as many at a time as there are cores, for CPUs), "auto" (by their kind).
    """

    batch_size: int | None = None
    max_epochs: int = 100
    validation_fraction: float = 0.2
    input_dropout: float = 0.0
    pretraining_epochs: int | None = None
    epoch_batches: int | None = None
    block_epochs: int = field(default=5, compare=False)  # no part of the compiled program
    layout: Layout = "auto"

    def __post_init__(self) -> None:
        problems = [
            line
            for name in ("max_epochs", "block_epochs")
            for line in unlike(name, getattr(self, name), whole=True, least=1)
        ]
        for name in ("batch_size", "pretraining_epochs", "epoch_batches"):
            if getattr(self, name) is not None:
                problems += unlike(name, getattr(self, name), whole=True, least=1)
        problems += unlike("validation_fraction", self.validation_fraction, above=0, below=1)
        problems += unlike("input_dropout", self.input_dropout, least=0, below=1)
        problems += not_among("layout", self.layout, get_args(Layout))
        if problems:
            raise ValueError("; ".join(problems))

    def batch_rows(self, n_rows: int) -> int:
        """Return the rows of a batch of so many: see `batch_size`."""
        if self.batch_size is not None:
            return self.batch_size
        return min(STUDY_BATCH, max(32, 1 << (max(n_rows // BATCHES, 1).bit_length() - 1)))

    def for_rows(self, n_rows: int) -> "Training":
        """Return it with the batches that so many rows are parted into."""
        return replace(self, batch_size=self.batch_rows(n_rows))

    def of_stage(self, pretraining: bool) -> "Training":
        """Return it with the epochs of a stage."""
        most = (pretraining and self.pretraining_epochs) or self.max_epochs
        return replace(self, max_epochs=min(most, self.max_epochs), pretraining_epochs=None)

    @property
    def pretraining_bound(self) -> str:
        """Name of the setting that bounds the epochs of the pretraining."""
        is_shorter = self.of_stage(pretraining=True).max_epochs < self.max_epochs
        return "pretraining_epochs" if is_shorter else "max_epochs"

    def split_sizes(self, n_rows: int) -> tuple[int, int]:
        """Return the number of training and of validation rows, at least one of each.

        Raises:
            ValueError: fewer than two rows.
        """
        if n_rows < 2:
            raise ValueError(f"training needs at least 2 rows to split, got {n_rows}")
        n_validation = min(max(1, round(n_rows * self.validation_fraction)), n_rows - 1)
        return n_rows - n_validation, n_validation

    def epoch_sizes(self, n_rows: int) -> tuple[int, int]:
        """Return how many rows an epoch trains on and how many score it: all of `split_sizes`, or a part."""
        n_train, n_validation = self.split_sizes(n_rows)
        most = n_train if self.epoch_batches is None else self.epoch_batches * self.batch_rows(n_rows)
        n_taken = min(n_train, most)
        return n_taken, -(-n_taken * n_validation // n_train)

    def most_steps(self, n_rows: int) -> int:
        """Return the steps of a training that never stops early."""
        n_taken, _ = self.epoch_sizes(n_rows)
        return self.max_epochs * -(-n_taken // self.batch_rows(n_rows))


class Hyperparameters(NamedTuple):
    """Settings of one lane that change numbers only (section 2.3 unless noted).

    Plain numbers as a person writes them; an array of one value per lane in a stack (`lanes.stack`).

    The noise variance, which the study does not give, weighs the squared error against the KL terms. The
    default of 0.1 is near the mean variance of the study's 0/1 columns; at 1 the decoder may call
    those columns noise.

    Args:
        learning_rate: of AdamW, >= 0.
        weight_decay: of AdamW, decoupled, >= 0.
        clip_norm: largest global norm of a lane's gradient, > 0.
        noise_variance: variance of the Gaussian decoder, in squared standardised units, > 0; where it is
            learned, its start.
        kl_weight: factor of every term but the reconstruction; 1 is the ELBO.
        patience: epochs without a better validation loss before a lane stops.
        latent_dim: latents in use, at least 1; those that another lane has beyond them are masked.
        n_clusters: clusters in use, at least 1; likewise.
        warmup_epochs: epochs of the pretraining over which the KL weight grows to its value, in equal steps.
        mixture_rate: factor of the learning rate of the mixture, >= 0; 0 leaves it where it starts.
        annealing_cycles: how often the warm-up is gone through, at least 1; each cycle has `warmup_epochs`
            epochs, and the last of them the whole weight (Fu et al. 2019, who keep it for half of a cycle).
        pretraining_kl_weight: factor of `kl_weight` in the pretraining alone, >= 0; 0 makes it the training
            of an autoencoder. Early stopping of the pretraining looks at the bound so weighted.
        occupancy_floor: share of a batch below which a cluster is held up in the fine-tuning, as a fraction
            of an equal share, in [0, 1); see `objective.below_floor`. It biases the shares; 0 is off. Early
            stopping keeps the epoch of the best bound, without it and `repulsion`: where either costs the
            bound much, that is an early one.
        repulsion: what clusters that lie on one another cost in the fine-tuning, nats a row, >= 0; see
            `objective.penalties`. 0 is off.
        balance: how far the variables count alike in the reconstruction, in [0, 1]; see
            `likelihoods.balanced`. 0: as the likelihood has them, 1: alike, but for rare codes. Losses are of
            the likelihood so weighted, and so is what early stopping looks at.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    clip_norm: float = 1.0
    noise_variance: float = 0.1
    kl_weight: float = 1.0
    patience: int = 5
    latent_dim: int = 2
    n_clusters: int = 7
    warmup_epochs: int = 0
    mixture_rate: float = 1.0
    annealing_cycles: int = 1
    pretraining_kl_weight: float = 1.0
    occupancy_floor: float = 0.0
    repulsion: float = 0.0
    balance: float = 0.0

    @property
    def finite(self) -> bool:
        """Whether every value of one lane is a finite number."""
        return all(math.isfinite(value) for value in self)

    def of_stage(self, pretraining: bool) -> "Hyperparameters":
        """Return the settings with the KL weight that the losses of a stage have."""
        return self._replace(kl_weight=self.kl_weight * self.pretraining_kl_weight) if pretraining else self

    def check(self) -> None:
        """Refuse values of one lane that cannot train. NaN passes: a lane that starts with it is reported.

        Raises:
            ValueError: every field out of its range, what was expected and what came.
        """
        problems = []
        at_least_0 = ("learning_rate", "weight_decay", "kl_weight", "mixture_rate", "pretraining_kl_weight")
        for name in (*at_least_0, "repulsion"):
            problems += unlike(name, getattr(self, name), least=0, nan=True)
        problems += unlike("occupancy_floor", self.occupancy_floor, least=0, below=1, nan=True)
        problems += unlike("balance", self.balance, least=0, most=1, nan=True)
        for name in ("clip_norm", "noise_variance"):
            problems += unlike(name, getattr(self, name), above=0, nan=True)
        for name in ("patience", "latent_dim", "n_clusters", "annealing_cycles"):
            problems += unlike(name, getattr(self, name), whole=True, least=1)
        problems += unlike("warmup_epochs", self.warmup_epochs, whole=True, least=0)
        if not problems and self.warmup_epochs == 0 and self.annealing_cycles > 1:
            problems.append(
                f"annealing_cycles: expected 1 without warmup_epochs, got {self.annealing_cycles}"
            )
        if problems:
            raise ValueError("; ".join(problems))
