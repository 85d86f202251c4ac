"""How far the clusters of handwritten digits are the ten digits: MNIST, as Jiang et al. 2017 report it.

    .venv/bin/python benchmarks/mnist.py --data mnist.npz --seeds 0 1 2 --out benchmarks/results/mnist.json
    .venv/bin/python benchmarks/mnist.py --digits --seeds 0 1 2 3 4 5 6 7 8 9
    .venv/bin/python benchmarks/mnist.py --consensus --data mnist.npz --seeds 0 1 2 \
        --out benchmarks/results/mnist_consensus.json
    .venv/bin/python benchmarks/mnist.py --consensus --deformed --candidates --seeds 0 \
        --out benchmarks/results/mnist_consensus_deformed.json

All 70,000 images of the file (arrays x_train, y_train, x_test, y_test), networks 784-500-500-2000-10, pixels
in [0, 1] as Bernoulli means. Images alone take part: the networks as they are after the last epoch of the
schedule give the answer (in a consensus, below, those after the best), and labels are read for the report, by
the best matching of ten clusters to ten digits. The settings were chosen on the 1,797 images of 8 x 8 pixels
that scikit-learn brings along, with smaller networks, by the accuracy there: `--digits` runs the same program
on them, with `--candidates` for each of what the settings were chosen among.

With `--consensus` a seed's answer is what short runs agree on, of more clusters than digits, as `robust` has
it (`jvade.cluster`, which keeps of every run the epoch of the best validation loss), but with full
covariances, at half of the learning rate above. These were chosen on `--deformed`, the small digits at 28 x
28 pixels, ten times each, turned, sheared and bent by chance, by the accuracy there. How the runs are joined
is told without labels, by what is kept of other runs (`analysis.consensus.kept`). They have as many steps as
those on the deformed digits.

A seed redraws weights, order, noise and the starts of EM. Every block of epochs prints a line. With --out,
lines and the state of the training are kept beside it: the same command goes on after a stop.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import report
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from jvade import checkpoints, clustering, ensemble, health
from jvade.analysis import consensus, stability
from jvade.core import epoch as epoch_
from jvade.core import fit, lanes
from jvade.core.epoch import TrainState
from jvade.core.layout import take_lane
from jvade.core.model import Parameters
from jvade.core.settings import Architecture, Block, Covariance, Hyperparameters, Training

N_CLUSTERS = 10
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Settings:
    """What a run depends on, but the images and the seed.

    Args:
        widths: of the encoder.
        model: its KL weight is low in the pretraining, so that the latents keep what tells digits apart: at
            1 the prior of one normal takes it from them.
        training: batch, and what is held out: a hundredth, which nothing but a printed loss depends on, and
            in a consensus the epoch that is kept of a run.
        mixture: how the mixture starts.
        epochs: of the pretraining and of the fine-tuning.
        covariance_type: of the clusters.
    """

    widths: tuple[int, ...]
    model: Hyperparameters
    training: Training
    mixture: fit.MixtureStart
    epochs: tuple[int, int]
    covariance_type: Covariance = "diag"


#: Chosen on `DIGITS`, but the epochs: those are what two shared cores do in half an hour or a little more.
MNIST = Settings(
    (500, 500, 2000),
    Hyperparameters(latent_dim=10, n_clusters=N_CLUSTERS, learning_rate=2e-3, pretraining_kl_weight=0.01),
    training=Training(batch_size=256, validation_fraction=0.01),
    mixture=fit.MixtureStart(),
    epochs=(20, 60),
)
DIGITS = replace(
    MNIST, widths=(100, 100, 400), training=replace(MNIST.training, batch_size=64), epochs=(100, 100)
)
#: Runs of a consensus, and clusters of each: twice as many as there are digits, as `robust` has fifteen for
#: seven. Not tried otherwise.
N_RUNS, N_TO_SPARE = 8, 20
#: Of 70,000 images 10 epochs are as many steps as 40 of the deformed digits.
SHORT = replace(
    MNIST, model=MNIST.model._replace(learning_rate=1e-3), covariance_type="full", epochs=(10, 10)
)
SHORT_DIGITS = replace(DIGITS, model=SHORT.model, covariance_type="full")
SHORT_DEFORMED = replace(SHORT, widths=(256, 256, 1024), epochs=(40, 40))
CANDIDATES = {
    "chosen": DIGITS,
    "pretraining KL weight 1": replace(DIGITS, model=DIGITS.model._replace(pretraining_kl_weight=1.0)),
    "pretraining KL weight 0.1": replace(DIGITS, model=DIGITS.model._replace(pretraining_kl_weight=0.1)),
    "pretraining KL weight 0.001": replace(DIGITS, model=DIGITS.model._replace(pretraining_kl_weight=0.001)),
    "learning rate 0.001": replace(DIGITS, model=DIGITS.model._replace(learning_rate=1e-3)),
    "a quarter hidden": replace(DIGITS, training=replace(DIGITS.training, input_dropout=0.25)),
    "half hidden": replace(DIGITS, training=replace(DIGITS.training, input_dropout=0.5)),
    "mixture started on means": replace(DIGITS, mixture=fit.MixtureStart(latents="means")),
}
CONSENSUS_CANDIDATES = {
    "chosen": SHORT_DEFORMED,
    "diagonal": replace(SHORT_DEFORMED, covariance_type="diag"),
    "learning rate 0.002": replace(SHORT_DEFORMED, model=MNIST.model),
}


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return all images as rows of pixels in [0, 1], and their labels.

    Raises:
        ValueError: the file is not there, or not MNIST; says what was expected.
    """
    expected = f"expected MNIST as arrays {', '.join(ARRAYS)} of one .npz file"
    if not path.is_file():
        raise ValueError(f"--data: {expected}, found no file {path}")
    with np.load(path) as arrays:
        if not set(ARRAYS) <= set(arrays):
            raise ValueError(f"--data: {expected}, found {', '.join(arrays) or 'none'} in {path}")
        images, labels = (np.concatenate([arrays[f"{of}_train"], arrays[f"{of}_test"]]) for of in "xy")
    return (images.reshape(len(images), -1) / 255).astype(np.float32), labels.astype(int)


def deformed(n_copies: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits made as large and various as those of MNIST, and their labels.

    Each is enlarged to 20 x 20 of 28 x 28 pixels; a copy of it is turned, sheared, stretched, moved and bent
    by what a generator of seed 0 draws, and made as black and white as MNIST is.
    """
    pixels, digits = map(np.asarray, load_digits(return_X_y=True))
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij")) - 13.5
    images, labels = [], np.repeat(digits, n_copies)
    for small in pixels.reshape(-1, 8, 8) / 16:
        large = np.pad(np.clip(np.asarray(ndimage.zoom(small, 2.5, order=3)), 0, 1), 4)
        for _ in range(n_copies):
            angle, shear = rng.normal(0, 0.12), rng.normal(0, 0.15)
            turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            stretch = np.diag(np.exp(rng.normal(0, 0.1, 2)))
            bend = ndimage.gaussian_filter(rng.normal(size=(2, 28, 28)), (0, 5, 5))
            where = np.tensordot(turn @ np.array([[1, shear], [0, 1]]) @ stretch, grid, 1)
            where += 13.5 + 1.2 * bend / bend.std() + rng.normal(0, 0.5, (2, 1, 1))
            images.append(np.clip((ndimage.map_coordinates(large, where, order=1) - 0.35) * 2.2 + 0.35, 0, 1))
    return np.stack(images).reshape(len(labels), -1).astype(np.float32), labels.astype(int)


def accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the share of rows whose cluster is their label's, clusters matched to labels one to one."""
    counts = np.zeros((max(clusters.max(), labels.max()) + 1,) * 2, int)
    np.add.at(counts, (clusters, labels), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


class Watched:
    """A keeper that shows every state to a function before it hands it on.

    Attributes:
        states: the latest: those after the last epoch once the stage has ended.
    """

    def __init__(self, see: Callable[[str, TrainState], None], keeper: lanes.Keeper | None) -> None:
        self._see, self._keeper = see, keeper
        self.states: TrainState | None = None

    def resume(self, stage: str, fresh: TrainState) -> TrainState:
        """Return the states to go on from."""
        self.states = fresh if self._keeper is None else self._keeper.resume(stage, fresh)
        return self.states

    def keep(self, stage: str, states: TrainState, why: Literal["", "end", "stop"]) -> None:
        """Show and keep the states after a block."""
        self.states = states
        self._see(stage, states)
        if self._keeper is not None:
            self._keeper.keep(stage, states, why)


def run(
    x: np.ndarray,
    labels: np.ndarray,
    courses: dict[str, list[dict[str, Any]]],
    settings: Settings,
    block_epochs: int,
    folder: Path | None = None,
    on_lines: Callable[[], None] = lambda: None,
) -> None:
    """Cluster images by some seeds side by side, from where an earlier run of them stopped.

    Args:
        x: pixels in [0, 1], a row an image.
        labels: read to report the accuracy, by nothing else.
        courses: by seed, which every draw of a run descends from: lines of an earlier run, to be added to.
        settings: see there.
        block_epochs: epochs from one line to the next.
        folder: where the state of the training is kept, if it is to be.
        on_lines: called after every new line of all seeds.
    """
    rows, begin = jnp.asarray(x), time.perf_counter()
    # What a stop cost in vain counts up to the last line.
    before = max((course[-1]["seconds"] for course in courses.values() if course), default=0.0)
    architecture = Architecture(
        x.shape[1],
        settings.model.latent_dim,
        N_CLUSTERS,
        settings.widths,
        (Block("bernoulli", x.shape[1]),),
        covariance_type=settings.covariance_type,
    )

    model = settings.model._replace(patience=max(settings.epochs) + 1)  # nothing stops early
    stack = lanes.stack([int(seed) for seed in courses], model)
    first, second = (
        replace(settings.training, max_epochs=n_epochs, block_epochs=block_epochs)
        for n_epochs in settings.epochs
    )

    def add(name: str, epoch: int, each: Sequence[dict[str, Any]]) -> None:
        seconds = before + time.perf_counter() - begin
        for (seed, course), values in zip(courses.items(), each, strict=True):
            if all((one["stage"], one["epoch"]) != (name, epoch) for one in course):
                course.append({"stage": name, "epoch": epoch, "seconds": seconds, **values})
                print(f"seed {seed}, " + ", ".join(_text(*one) for one in course[-1].items()), flush=True)
        on_lines()

    def judged(params: Parameters) -> list[dict[str, Any]]:
        found = []
        for place in range(len(courses)):
            one, lane = take_lane((params, stack), place)
            clusters = np.asarray(fit.assign(one, rows, lane, architecture).responsibilities.argmax(axis=1))
            found.append({"accuracy": accuracy(labels, clusters), "alive": health.alive(clusters)})
        return found

    def see(name: str, states: TrainState) -> None:
        if not states.finite.all():
            raise RuntimeError(f"{name} of seeds {', '.join(courses)}: not all of it is finite")
        tuning, epoch = states.params.mixture is not None, int(states.epoch[0])
        model = stack.hyperparameters.of_stage(pretraining=not tuning)
        losses = [
            float(epoch_.loss(*take_lane((states.history.validation, model), place))[epoch - 1])
            for place in range(len(courses))
        ]
        each = judged(states.params) if tuning else [{}] * len(losses)
        add(name, epoch, [{"loss": loss} | one for loss, one in zip(losses, each, strict=True)])

    keeper = Watched(see, None if folder is None else checkpoints.Checkpoints(folder))
    networks = lanes.init(stack, architecture)
    lanes.train(rows, networks, stack, "pretraining", architecture, first, keeper=keeper)
    assert keeper.states is not None
    params = keeper.states.params
    start = fit.start_mixtures(params, rows, stack, architecture, second, settings.mixture)
    params = params._replace(mixture=fit.mixtures(start))
    add("mixture start", 0, judged(params))
    lanes.train(rows, params, stack, "fine-tuning", architecture, second, keeper=keeper)
    if folder is not None:
        checkpoints.remove(folder, folder.parent)


def configuration(settings: Settings) -> clustering.Configuration:
    """Return how the runs of a consensus are trained; each keeps the epoch of its best validation loss."""
    first, second = settings.epochs
    return clustering.Configuration(
        settings.model._replace(n_clusters=N_TO_SPARE, patience=max(settings.epochs) + 1),
        replace(settings.training, max_epochs=second, pretraining_epochs=first),
        settings.mixture,
        settings.widths,
        N_RUNS,
        "by-kind",
        covariance_type=settings.covariance_type,
    )


def agree(
    x: np.ndarray, labels: np.ndarray, seed: int, settings: Settings, folder: Path | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what a consensus of short runs comes to, and its clusters.

    Args:
        x: pixels in [0, 1], a row an image.
        labels: read to report the accuracy, by nothing else.
        seed: every draw descends from it.
        settings: see there; a run keeps the epoch of its best validation loss.
        folder: where the state of the training is kept, if it is to be.
    """
    begin, how = time.perf_counter(), configuration(settings)
    keeper = None if folder is None else checkpoints.Checkpoints(folder)

    def see(progress: Any) -> None:
        seconds = time.perf_counter() - begin
        print(f"seed {seed}, {progress.stage}, epoch {progress.epoch}, seconds {seconds:.4g}", flush=True)

    blocks = (Block("bernoulli", x.shape[1]),)
    found = clustering.cluster(x, N_CLUSTERS, seed, how, see, keeper, blocks)
    seconds = time.perf_counter() - begin + (0.0 if keeper is None else keeper.seconds)
    sure = found.support >= 0.8
    hidden = how.training.input_dropout
    runs, likeness = list(found.runs), ensemble.likeness(found.ensemble, x, found.runs, hidden, seed)
    same = {"n_clusters": N_CLUSTERS, "seed": seed, "n_labels": N_TO_SPARE}
    ways = {
        linkage: consensus.agree(runs, likeness=list(likeness), linkage=linkage, **same).labels
        for linkage in consensus.WAYS
    }
    result = {
        "accuracy": accuracy(labels, found.labels.astype(int)),
        "run_agreement": float(stability.agreements(list(found.runs)).mean()),
        "alive": health.alive(found.labels),
        "sure": float(sure.mean()),
        "accuracy_of_the_sure": accuracy(labels[sure], found.labels[sure].astype(int)),
        "linkage": found.linkage,
        "accuracy_by_linkage": {name: accuracy(labels, one.astype(int)) for name, one in ways.items()},
        "seconds": seconds,
    }
    if folder is not None:
        checkpoints.remove(folder, folder.parent)
    return result, found.labels


def _text(name: str, value: Any) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def describe(course: Sequence[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Return what a run has come to: whether it is done, its last accuracy, its seconds, and its course."""
    last = course[-1] if course else {"stage": "", "epoch": 0}
    return {
        "done": (last["stage"], last["epoch"]) == ("fine-tuning", settings.epochs[1]),
        "accuracy": last.get("accuracy"),
        "seconds": last.get("seconds"),
        "course": [*course],
    }


def compare_consensuses(
    x: np.ndarray, labels: np.ndarray, each: dict[str, Settings], options: argparse.Namespace
) -> None:
    """Measure a consensus of each seed, and how far they agree; what was found before a stop is kept."""
    kept = report.Kept(options)
    for name, settings in each.items():
        for seed in options.seeds:
            if str(seed) in kept.found.setdefault(name, {}):
                continue
            found, clusters = agree(x, labels, seed, settings, _folder(options.out, seed, settings))
            kept.found[name][str(seed)] = {**found, "clusters": clusters.tolist()}
            kept.write()
    found: dict[str, Any] = {"images": len(x), "runs": {}, "agreement": {}}
    for name, seeds in kept.found.items():
        found["runs"][name] = {
            seed: {key: value for key, value in one.items() if key != "clusters"}
            for seed, one in seeds.items()
        }
        every = [np.array(one["clusters"]) for one in seeds.values()]
        between = stability.agreements(every) if len(every) > 1 else np.array([])
        found["agreement"][name] = [*map(float, between)]
    report.write("benchmarks/mnist.py", options, found, options.out)
    kept.remove()


def _folder(out: Path | None, seed: int | str, *settings: Any) -> Path | None:
    """Return where the state of a training is kept, beside what is written; one of other settings is not."""
    known = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    return out and out.with_name(f".unfinished-{out.stem}") / f"seed-{seed}-{known}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Accuracy of the clusters of handwritten digits.")
    parser.add_argument("--data", type=Path, help="MNIST, an .npz file")
    parser.add_argument("--digits", action="store_true", help="scikit-learn's small digits in its place")
    parser.add_argument("--deformed", action="store_true", help="these enlarged and deformed")
    parser.add_argument("--candidates", action="store_true", help="all settings that were tried on these")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--consensus", action="store_true", help="of short runs, in place of long ones")
    parser.add_argument("--epochs", type=int, nargs=2, metavar=("PRETRAINING", "FINE-TUNING"))
    parser.add_argument("--block", type=int, default=5, help="epochs from one line to the next")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.consensus and options.epochs:
        parser.error("--consensus has epochs of its own")
    if options.digits + options.deformed + (options.data is not None) != 1:
        parser.error("expected one of --data FILE, --digits, --deformed")
    if options.deformed and not options.consensus:
        parser.error("--deformed is what --consensus was chosen on")
    if options.candidates and (options.data is not None or options.digits == options.consensus):
        parser.error("--candidates are those of --digits, or of --consensus --deformed")
    if options.digits:
        pixels, labels = map(np.asarray, load_digits(return_X_y=True))
        x = (pixels / 16).astype(np.float32)
    elif options.data is None:
        x, labels = deformed()
    else:
        try:
            x, labels = load(options.data)
        except ValueError as error:
            parser.error(str(error))
    if options.consensus:
        candidates = CONSENSUS_CANDIDATES
        chosen = SHORT_DIGITS if options.digits else SHORT_DEFORMED if options.deformed else SHORT
    else:
        candidates, chosen = CANDIDATES, DIGITS if options.digits else MNIST
    each = candidates if options.candidates else {"chosen": chosen}
    if options.consensus:
        compare_consensuses(x, labels, each, options)
        return
    if options.epochs:
        each = {name: replace(one, epochs=tuple(options.epochs)) for name, one in each.items()}
    kept = report.Kept(options)

    def write() -> None:
        found = {
            name: {seed: describe(course, each[name]) for seed, course in runs.items() if course}
            for name, runs in kept.found.items()
        }
        report.write("benchmarks/mnist.py", options, {"images": len(x), "runs": found}, options.out)

    try:
        for name, settings in each.items():
            runs = kept.found.setdefault(name, {})
            courses = {str(seed): runs.setdefault(str(seed), []) for seed in options.seeds}
            left = [seed for seed in courses if not describe(courses[seed], settings)["done"]]
            # Small ones side by side; of large ones, one has the machine for itself.
            for seeds in [left] if options.digits and left else [[seed] for seed in left]:
                # A run on small ones takes seconds.
                folder = None if options.digits else _folder(options.out, seeds[0], settings, options.block)
                some = {seed: courses[seed] for seed in seeds}
                run(x, labels, some, settings, options.block, folder, kept.write)
    finally:  # a run that was stopped has something to tell too
        write()
    kept.remove()


if __name__ == "__main__":
    main()
