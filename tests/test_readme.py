"""The README's commands run: its Python as it stands, its shell lines at the smallest size."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


#: What makes a command of the README small.
SMALL = {
    "scripts/paper.py": ["--preset", "smoke", "--only", "profiles"],
    "sweep": [
        "--training.max-epochs",
        "2",
        "--training.batch-size",
        "256",
        "--mixture.n-init",
        "4",
        "--seeds",
        "1",
    ],
}
#: What each block of Python prints, among others.
SAYS = ("runs ended at training.max_epochs", "True")
COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line]


def test_the_readme_has_what_this_file_checks():
    assert COMMANDS[:2] == ["make paper", "make test"]
    assert any("--visits" in line for line in COMMANDS)
    assert len(blocks("python")) == len(SAYS)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make_knows_the_target_and_what_it_runs(command):
    """`make -n` prints the recipe; the tests of the study run the script itself."""
    done = subprocess.run(
        [*shlex.split(command), "-n", "-B", f"PYTHON={sys.executable}", "VENV=.venv-of-a-dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("scripts/paper.py --preset quick" if "paper" in command else "-m pytest") in done.stdout


@pytest.mark.parametrize("command", [line for line in COMMANDS if not line.startswith("make ")])
def test_commands_run(command, tmp_path):
    program, *args = shlex.split(command)
    start = {
        ".venv/bin/python": [sys.executable],
        ".venv/bin/jvade": [sys.executable, "-c", "from jvade.cli import main; main()"],
    }
    assert program in start, "a new kind of command needs a way to be tested here"
    out = tmp_path / "out"
    args[args.index("--out") + 1] = str(out)
    small = SMALL.get(args[0], [])
    if args[0] == "simulate":
        args[args.index("--visits") + 1] = "6000"
    done = subprocess.run(
        [*start[program], *args, *small], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / ("truth.parquet" if args[0] == "simulate" else "run.json")).exists()


@pytest.mark.parametrize("block", range(len(SAYS)))
def test_python_runs(capsys, block):
    exec(compile(blocks("python")[block], "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert SAYS[block] in out
    assert "nan" not in out


def test_files_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target


def test_flags_named_in_the_readme_exist(capsys):
    from jvade import cli

    known: set[str] = set()
    for command in (["paper"], ["features"], ["simulate"], ["mapping", "init"], ["sweep"]):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        known |= set(re.findall(r"--[a-z][a-z.-]+", capsys.readouterr().out))
    named = set(re.findall(r"--[a-z][a-z.-]+", README)) - {"--help"}
    assert named <= known, named - known


def test_the_example_table_is_what_its_script_writes(tmp_path):
    script = (ROOT / "examples" / "make_visits.py").read_text()
    (tmp_path / "make_visits.py").write_text(script)
    subprocess.run([sys.executable, tmp_path / "make_visits.py"], check=True)
    assert (tmp_path / "visits.csv").read_bytes() == (ROOT / "examples" / "visits.csv").read_bytes()
