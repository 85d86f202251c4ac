"""The command line: parse, call, print. Flags are built from the typed settings.

Exit codes: 0 done; 1 the run failed; 2 the input or a flag cannot be used; 130 stopped by ctrl-C.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax

from jvade.data.errors import InputError

try:
    import tyro

    from jvade.commands import sweep as sweeping
    from jvade.commands import tables
    from jvade.commands.sweep import SweepSettings
    from jvade.commands.tables import FeaturesSettings, SimulateSettings
    from jvade.paper import study
    from jvade.paper.settings import PRESETS, PaperSettings
    from jvade.report.terminal import Terminal
except ModuleNotFoundError as absent:
    raise SystemExit(f"jvade: {absent}; the command line needs: pip install 'jvade[tables,report]'") from None


def chosen_preset(args: Sequence[str]) -> PaperSettings:
    """Return the preset that `args` name: its values are the defaults of every other flag, in --help too."""
    for i, word in enumerate(args):
        flag, _, value = word.partition("=")
        if flag == "--preset":
            value = value or (args[i + 1] if i + 1 < len(args) else "")
            return PRESETS.get(value, PRESETS["quick"])  # type: ignore[call-overload]
    return PRESETS["quick"]


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


def app(args: Sequence[str]) -> tyro.extras.SubcommandApp:
    """Return the commands, with defaults as `args` choose them."""
    whole, mapping = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()

    @whole.command
    def paper(settings: Annotated[PaperSettings, tyro.conf.arg(name="")] = chosen_preset(args)) -> None:  # noqa: B008
        """Reproduce the study, on a simulated district or on your own visits."""
        settings.check()
        use_device(settings.device)
        study.run(settings, Terminal())

    @whole.command
    def features(settings: Annotated[FeaturesSettings, tyro.conf.arg(name="")]) -> None:
        """Turn a table of visits into the inputs of the study, as Parquet."""
        tables.features(settings, Terminal())

    @whole.command
    def simulate(settings: Annotated[SimulateSettings, tyro.conf.arg(name="")]) -> None:
        """Write the raw tables of a simulated district, in the shape of Table 7."""
        tables.simulate(settings, Terminal())

    @whole.command
    def sweep(settings: Annotated[SweepSettings, tyro.conf.arg(name="")]) -> None:
        """Train VaDE with every combination of some settings from several seeds, and rank the settings."""
        use_device(settings.device)
        sweeping.run(settings, Terminal())

    @mapping.command
    def init(file: tyro.conf.Positional[Path], out: Path | None = None) -> None:
        """Draft the mapping of a file of visits from its columns.

        Args:
            file: the visits: CSV, Parquet, or a folder of parts.
            out: file to write the draft to; the terminal if not given.
        """
        tables.draft_mapping(file, out)

    whole.command(mapping, name="mapping")
    return whole


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; errors a person can mend are said without a traceback."""
    args = sys.argv[1:] if args is None else list(args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our signs shows "?", and no error
    try:
        app(args).cli(args=args, prog="jvade")
    except InputError as error:
        print(f"jvade: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (study.TrainingError, OSError) as error:
        print(f"jvade: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("jvade: stopped", file=sys.stderr)
        raise SystemExit(130) from None
