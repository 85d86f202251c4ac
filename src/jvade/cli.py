"""The command line: parse, call, print. Flags are built from the typed settings.

Settings are given in three ways, each before the one after it: the defaults, a TOML file (`--settings FILE`),
flags. A TOML file holds what flags hold, under the same names; `[model]` begins those of `--model.`.

Exit codes: 0 done; 1 the run failed; 2 the input or a flag cannot be used; 130 stopped by ctrl-C.
"""

import io
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax

from jvade import interrupts
from jvade.core.layout import part_cpu
from jvade.data.errors import InputError

try:
    import tyro

    from jvade.clustering import TrainingError
    from jvade.commands import fit as fitting
    from jvade.commands import models, predict, tables
    from jvade.commands import report as reporting
    from jvade.commands import sweep as sweeping
    from jvade.commands.fit import FitSettings
    from jvade.commands.models import DoctorSettings
    from jvade.commands.predict import PredictSettings
    from jvade.commands.sweep import SweepSettings
    from jvade.commands.tables import FeaturesSettings, SimulateSettings
    from jvade.estimator import NAMED
    from jvade.paper.report import ReportSettings
    from jvade.paper.settings import PRESETS, PaperSettings
    from jvade.report.terminal import Terminal
except ModuleNotFoundError as absent:
    raise SystemExit(f"jvade: {absent}; the command line needs: pip install 'jvade[tables,report]'") from None


HELP = """Cluster visits: reproduce the study, or fit a model to your own table and place new rows.

Every command takes --settings FILE: a TOML file of flags under their own names; flags go before it.
jvade --version prints the version. `jvade COMMAND --help` says what a command takes.
Exit codes: 0 done; 1 the run failed; 2 the input or a flag cannot be used; 130 stopped by ctrl-C."""


def value_of(flag: str, args: Sequence[str]) -> str:
    """Return the last value that `args` give a flag, "" for none."""
    found = ""
    for i, word in enumerate(args):
        name, _, value = word.partition("=")
        if name == flag:
            found = value or (args[i + 1] if i + 1 < len(args) else "")
    return found


def chosen_preset(args: Sequence[str]) -> PaperSettings:
    """Return the preset that `args` name: its values are the defaults of every other flag, in --help too."""
    return PRESETS.get(value_of("--preset", args), PRESETS["quick"])  # type: ignore[call-overload]


def chosen_configuration(args: Sequence[str], default: str) -> dict[str, Any]:
    """Return the settings of the configuration that `args` name."""
    return vars(NAMED.get(value_of("--configuration", args), NAMED[default])).copy()


def fit_settings(args: Sequence[str]) -> FitSettings:
    """Return the settings of `jvade fit` under the configuration that `args` name."""
    return FitSettings(tyro.MISSING, **chosen_configuration(args, "robust"))


def sweep_settings(args: Sequence[str]) -> SweepSettings:
    """Return the settings of `jvade sweep`, likewise."""
    chosen = chosen_configuration(args, "paper")
    for of_a_consensus in ("n_runs", "linkage"):  # its runs are its seeds, and are not joined
        del chosen[of_a_consensus]
    return SweepSettings(tyro.MISSING, **chosen)


def with_settings_file(args: Sequence[str]) -> list[str]:
    """Return `args` with the flags of the file that `--settings` names put before those given.

    Raises:
        InputError: the file cannot be read.
    """
    name = value_of("--settings", args)
    if not name:
        return list(args)
    given, skip = [], False
    for word in args:
        if not skip and word != "--settings" and not word.startswith("--settings="):
            given.append(word)
        skip = word == "--settings"
    path = Path(name)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(["the file cannot be opened; check the path"], path.name) from None
    except ValueError as error:  # TOML, or not even text
        raise InputError([f"this is no TOML: {error}"], path.name) from None
    flags = [flag for flag in _flags(raw, "--") if flag[0] not in {word.partition("=")[0] for word in given}]
    n_words = next((i for i, word in enumerate(given) if word.startswith("-")), len(given))
    return [*given[:n_words], *(word for flag in flags for word in flag), *given[n_words:]]


def refuse_repeated(args: Sequence[str]) -> None:
    """Refuse names of columns by the same flag twice: those of the first would be forgotten.

    Raises:
        InputError: what to do.
    """
    flags = [word.partition("=")[0] for word in args]
    for flag in ("--columns", "--categories", "--codes"):
        if (n := flags.count(flag)) > 1:
            problem = f"{flag}: given {n} times; name all after one: {flag} FIRST SECOND"
            raise InputError([problem], "settings")


def _flags(raw: dict[str, Any], prefix: str) -> list[list[str]]:
    """Return each setting of a TOML table as the words of a flag."""
    flags = []
    for name, value in raw.items():
        flag = prefix + name.replace("_", "-")
        if isinstance(value, dict):
            flags += _flags(value, f"{flag}.")
        elif isinstance(value, bool):
            head, dot, last = flag.removeprefix("--").rpartition(".")
            flags.append([flag if value else f"--{head}{dot}no-{last}"])
        else:
            flags.append([flag, *(map(str, value) if isinstance(value, list) else [str(value)])])
    return flags


def use_device(device: str) -> None:
    """Compute on the kind of device a person named, or say that there is none of it."""
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device != "auto":  # an accelerator that is there is JAX's default
        try:
            jax.devices(device)
        except RuntimeError:
            advice = "install its extra (cuda12, cuda13 or tpu), or leave --device out"
            raise InputError([f"--device {device}: JAX finds no such device; {advice}"], "settings") from None


def train_on(device: str) -> None:
    """Compute on that kind of device; where it is a CPU, a long lane that is alone may have all of it."""
    part_cpu()
    use_device(device)


def app(args: Sequence[str]) -> tyro.extras.SubcommandApp:
    """Return the commands, with defaults as `args` choose them."""
    whole, mapping = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()

    @whole.command
    def paper(settings: Annotated[PaperSettings, tyro.conf.arg(name="")] = chosen_preset(args)) -> None:  # noqa: B008
        """Reproduce the study, on a simulated district or on your own visits."""
        from jvade.paper import study  # its figures take a second to load

        settings.check()
        train_on(settings.device)
        study.run(settings, Terminal())

    @whole.command
    def report(
        run: tyro.conf.Positional[Path],
        settings: Annotated[ReportSettings, tyro.conf.arg(name="")] = ReportSettings(),  # noqa: B008
    ) -> None:
        """Write what may be handed on of a run: a report in one file, and its tables.

        Args:
            run: folder of a finished `jvade paper`.
            settings: of the report.
        """
        reporting.run(run, settings, Terminal())

    @whole.command
    def fit(
        settings: Annotated[FitSettings, tyro.conf.arg(name="")] = fit_settings(args),  # noqa: B008
    ) -> None:
        """Cluster a table, of visits or any other, and keep the model."""
        train_on(settings.device)
        fitting.run(settings, Terminal())

    @whole.command(name="predict")
    def predict_(settings: Annotated[PredictSettings, tyro.conf.arg(name="")]) -> None:
        """Place rows in the clusters of a model: Parquet or CSV in and out, in bounded memory."""
        use_device(settings.device)
        predict.run(settings, Terminal())

    @whole.command
    def inspect(model: tyro.conf.Positional[Path], json: bool = False) -> None:
        """Print what a model file says of itself, after its checksum.

        Args:
            model: file that `jvade fit` wrote (model.jvade), or its folder.
            json: all of it, for a machine to read.
        """
        models.inspect(model, json)

    @whole.command
    def doctor(settings: Annotated[DoctorSettings, tyro.conf.arg(name="")] = DoctorSettings()) -> None:  # noqa: B008
        """Say what this machine has, and what a fit of some size will take on it."""
        train_on("auto")
        models.doctor(settings, Terminal())

    @whole.command
    def features(settings: Annotated[FeaturesSettings, tyro.conf.arg(name="")]) -> None:
        """Turn a table of visits into the inputs of the study, as Parquet."""
        tables.features(settings, Terminal())

    @whole.command
    def simulate(settings: Annotated[SimulateSettings, tyro.conf.arg(name="")]) -> None:
        """Write the raw tables of a simulated district, in the shape of Table 7."""
        tables.simulate(settings, Terminal())

    @whole.command
    def sweep(
        settings: Annotated[SweepSettings, tyro.conf.arg(name="")] = sweep_settings(args),  # noqa: B008
    ) -> None:
        """Train VaDE with every combination of some settings from several seeds, and rank the settings."""
        train_on(settings.device)
        sweeping.run(settings, Terminal())

    @mapping.command
    def init(
        file: tyro.conf.Positional[Path],
        charset: Annotated[str | None, tyro.conf.arg(name="csv.charset")] = None,
        out: Path | None = None,
    ) -> None:
        """Draft the mapping of a file of visits from its columns.

        Args:
            file: the visits: CSV, Parquet, or a folder of parts.
            charset: encoding of a CSV file, for example gb18030; guessed if not given.
            out: file to write the draft to; the terminal if not given.
        """
        tables.draft_mapping(file, charset, out)

    whole.command(mapping, name="mapping", help="Draft the mapping of a file of visits.")
    return whole


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; errors a person can mend are said without a traceback."""
    args = sys.argv[1:] if args is None else list(args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our signs shows "?", and no error
    file = value_of("--settings", args)
    # For those that are refused.
    origin = f"jvade: settings came from {Path(file).name} too\n" if file else ""
    try:
        refuse_repeated(args)
        args = with_settings_file(args)
        with interrupts.remembered():
            app(args).cli(args=args, prog="jvade", description=HELP)
        sys.stdout.flush()
    except InputError as error:
        print(f"jvade: {error}", file=sys.stderr)
        if str(error).startswith("settings: "):
            sys.stderr.write(origin)
        raise SystemExit(2) from None
    except SystemExit as refused:  # by the parser
        if refused.code == 2:
            sys.stderr.write(origin)
        raise
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (TrainingError, OSError) as error:
        print(f"jvade: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("jvade: stopped", file=sys.stderr)
        raise SystemExit(130) from None
