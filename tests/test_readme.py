"""The commands of the pages run at the smallest size, their Python runs, and their links lead somewhere."""

import json
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Pages whose commands are run; blocks called text are for hours, or for files that are not here.
TEXT = "\n".join(
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/design.md", "docs/study.md")
)
#: Pages whose links are followed.
LINKED = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


#: What makes a command of the README small.
SMALL = {
    "scripts/paper.py": ["--preset", "smoke", "--only", "profiles", "latents", "stability", "robust"],
    "fit": ["--training.max-epochs", "2", "--n-runs", "2", "--widths", "8"],
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
#: What each block of Python prints, among others, in the order of the pages.
SAYS = ("runs agree at 0.8", "True")
COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line]


def test_the_pages_have_what_this_file_checks():
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


#: Folders that one command writes and others read: those commands are run in their order.
SHARED = ("results/model", "results/mine")
CHAINS = [
    [line] for line in COMMANDS if not line.startswith("make ") and not any(name in line for name in SHARED)
]
CHAINS += [[line for line in COMMANDS if name in line] for name in SHARED]


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: shlex.split(chain[0])[1])
def test_commands_run(chain, tmp_path):
    """Those of jvade that follow one another share a process: most take less than its start."""
    for program, commands in groupby([small(command, tmp_path) for command in chain], key=lambda one: one[0]):
        each = [args for _, args in commands]
        if program == ".venv/bin/jvade":
            said = run("-c", JVADE, json.dumps(each)).split(END)[:-1]
        else:
            assert program == ".venv/bin/python", "a new kind of command needs a way to be tested here"
            said = [run(*args) for args in each]
        for args, text in zip(each, said, strict=True):
            out = Path(args[args.index("--out") + 1]) if "--out" in args else None
            if out is None:
                assert text.strip()
            else:
                files = {"simulate": out / "truth.parquet", "predict": out}
                assert files.get(args[0], out / "run.json").exists()


#: Runs commands of jvade, and ends what each of them says.
END = "-- end of a command --"
JVADE = f"""
import json, sys
from jvade.cli import main
for words in json.loads(sys.argv[1]):
    main(words)
    print({END!r})
"""


def small(command, results):
    """Return the program of a command and its words, at the smallest size, with a folder for `results`."""
    program, *args = shlex.split(command)
    args = [
        str(results / word.removeprefix("results/")) if word.startswith("results/") else word for word in args
    ]
    if args[0] == "simulate":
        args[args.index("--visits") + 1] = "6000"
    return program, args + SMALL.get(args[0], [])


def run(*words):
    """Run Python; return what it says."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("block", range(len(SAYS)))
def test_python_runs(capsys, block):
    exec(compile(blocks("python")[block], "page", "exec"), {})
    out = capsys.readouterr().out
    assert SAYS[block] in out
    assert "nan" not in out


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        other = page.parent / name if name else page
        assert other.is_file(), target
        if anchor:
            text = re.sub(
                r"^```.*?^```", "", other.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
            )
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings], (
                target
            )


def test_flags_that_are_named_exist(capsys):
    from jvade import cli

    known: set[str] = set()
    for command in (
        ["paper"],
        ["features"],
        ["simulate"],
        ["mapping", "init"],
        ["sweep"],
        ["fit"],
        ["predict"],
        ["doctor"],
        ["report"],
    ):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        known |= set(re.findall(r"--[a-z][a-z.-]+", capsys.readouterr().out))
    lines = [*TEXT.splitlines(), *(ROOT / "docs" / "data.md").read_text(encoding="utf-8").splitlines()]
    ours = "\n".join(line for line in lines if "benchmarks/" not in line)
    named = set(re.findall(r"--[a-z][a-z.-]+", ours)) - {"--help", "--settings", "--tyro-print-completion"}
    assert named <= known, named - known


def test_the_example_table_is_what_its_script_writes(tmp_path):
    script = (ROOT / "examples" / "make_visits.py").read_text()
    (tmp_path / "make_visits.py").write_text(script)
    subprocess.run([sys.executable, tmp_path / "make_visits.py"], check=True)
    assert (tmp_path / "visits.csv").read_bytes() == (ROOT / "examples" / "visits.csv").read_bytes()


@pytest.mark.long
def test_the_example_for_scikit_learn_runs():
    script = ROOT / "examples" / "scikit_learn.py"
    done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=True)
    agreement = re.search(r"agreement with the kinds: ([0-9.]+)", done.stdout)
    assert float(agreement[1]) > 0.5
