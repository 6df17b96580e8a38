"""What README and the documentation show runs: every command, every Python example.

Commands are run as they stand, in a folder with the files that the page shows, a repository with
the committed results, and stored timings. As in the other tests of the command line, fvcore and
thop answer at once what the ledger expects of them, and nothing is timed: that is for other tests.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vidcost.bench.count.references import asking
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{p.name}" for p in (CHECKOUT / "docs").glob("*.md")),
]
SLOW = {"ns": 10_000_000}

CUDA = "there may be no GPU: the same on the CPU"
INSTEAD = {
    "vidcost time --device cuda --batch 1,8 --dtype fp32,tf32,bf16 --budget 60m": (
        "vidcost time --batch 1,8 --dtype fp32,bf16 --budget 60m",
        CUDA,
    ),
    "vidcost time 'mfnet*' --device cuda --dtype fp32,tf32,bf16 --budget 30m": (
        "vidcost time 'mfnet*' --dtype fp32,bf16 --budget 30m",
        CUDA,
    ),
    "vidcost time --contribution --device cuda --budget 30m": (
        "vidcost time --contribution --budget 30m",
        CUDA,
    ),
    "vidcost time --blocks all --sweep --device cuda --mode eager,cuda-graph --budget 30m": (
        "vidcost time --blocks all --sweep --mode eager,compile --budget 30m",
        CUDA,
    ),
    "vidcost time --campaign full --device cuda --budget 9m": (
        "vidcost time --budget 9m",
        "there may be no GPU, and on a CPU no campaign: its rows there",
    ),
    "vidcost time --blocks all --impl reference,optimized --device cuda": (
        "vidcost time --blocks nl --impl reference,optimized",
        CUDA,
    ),
    **{
        f"vidcost compare mfnet --at conv4:before-last {blocks}": (
            f"vidcost compare mfnet --at conv4:before-last {blocks} --no-fvcore",
            "fvcore runs every network for seconds, which test_program.py waits for",
        )
        for blocks in (
            "--block nl --block cgnl",
            "--block nl --block pnl:n=4 --block my_block.py:MyBlock",
            "--block squeeze.py:Squeeze --block cgd --budget 0s",
        )
    },
    "pytest bench/suites -m latency -k pnl": (
        "pytest bench/suites -m latency -k pnl --collect-only -q",
        "a minute of timing: what it would run is found",
    ),
    "pytest -m alone -n 0 -s tests/bench/query/test_speed.py": (
        "pytest -m alone -n 0 -s tests/bench/query/test_speed.py --collect-only -q",
        "needs the machine for itself, and is run so: what it would run is found",
    ),
}
"""Commands that are too slow or need what is not there: what is run for them, and why."""

RAY = "tests/bench/engine runs the commands on a cluster, tests/test_scale_recipes.py reads them"
NOT_RUN = {
    "pip install -c constraints.txt .": "tests/test_package.py installs the wheel",
    "pip install tox": "downloads packages",
    "pip install -c constraints.txt '.[ray]'": "downloads packages",
    "vidcost time 'mfnet*' --device cuda --dtype fp32,tf32,bf16 --engine ray": RAY,
    "vidcost time 'mfnet*' --device cuda --engine ray --address 10.0.0.1:6379 --gpu H100,A100": RAY,
    "tox run": "is what runs these tests",
    "tox run -e bench": "minutes of timing, a job of its own",
    "tox run -e browser": "is a part of what runs these tests",
    "python -m venv .venv": "tests/test_package.py installs the wheel",
    ". .venv/bin/activate": "changes the shell it is called from",
    "pip install -c constraints.txt -e '.[test]' ruff": "downloads packages",
    "pytest": "is what runs these tests",
    "vidcost --install-completion": "tests/bench/cli/test_completion.py installs it in a home",
}
"""Commands that no test can run here, and why."""


def text(page):
    return (CHECKOUT / page).read_text(encoding="utf-8")


def fenced(page, language):
    """The blocks of a page in one language, as they stand."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def commands(page):
    """The commands of a page: of its console blocks, and of a table's first column."""
    lines = "\n".join(fenced(page, "console")).replace("\\\n", " ").splitlines()
    shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    shown += re.findall(r"^\| `(vidcost [^`]*)` \|", text(page), re.MULTILINE)
    alone = [re.sub(r"\s+# .*", "", line) for line in shown]
    return list(dict.fromkeys(part.strip() for line in alone for part in line.split("&&")))


def named(block):
    """The name of the file that a block is, by its first line; None of one to be run."""
    found = re.match(r"# (\S+\.(?:py|toml))\n", block)
    return found and found[1]


def is_session(block):
    """Whether a block is written as a session at Python's prompt."""
    return block.startswith(">>> ")


def examples(page):
    blocks = fenced(page, "python")
    return [block for block in blocks if not named(block) and not is_session(block)]


SHOWN = [(page, command) for page in PAGES for command in commands(page)]
EXAMPLES = [(page, number) for page in PAGES for number in range(len(examples(page)))]


@pytest.fixture
def place(
    git,
    vidcost,
    sides,
    reference_counters,
    operators,
    stopwatch,
    timed,
    baseline,
    monkeypatch,
    tmp_path,
):
    """Where commands are run; returns how to prepare for those of a page."""
    shutil.copytree(CHECKOUT / "results", "results", ignore=lambda *_: ["gate"], dirs_exist_ok=True)
    git.commit("Results")
    cell = Cell(row="mfnet", threads=3)
    for name, seconds in (("base", 0.1), ("head", 0.2)):
        benchmarks = [{"fullname": "bench.py::nl", "stats": {"median": seconds}}]
        stored = json.dumps({"machine_info": {}, "benchmarks": benchmarks})
        for path in (Path(f"{name}.json"), Path(f"{name}/{name}.json")):
            path.parent.mkdir(exist_ok=True)
            path.write_text(stored)
    Store(Path("results/timings/abacus.jsonl")).append(timed(cell))
    rows = ("mfnet", "mfnet-nl")
    sides(dict.fromkeys(rows, SLOW), dict.fromkeys(rows, SLOW))
    monkeypatch.setattr(asking, "answers_folder", lambda: tmp_path / "answers")

    def prepare(page, command=""):
        for block in fenced(page, "(?:python|toml)"):
            if name := named(block):
                Path(name).write_text(block)
        if command.startswith("vidcost query") and "--parquet" in command:
            assert 0 == vidcost("export", "--parquet", "parquet")[0]
        if command.startswith("vidcost gate replay"):
            assert 0 == vidcost("gate", "time", "mfnet")[0]
        if command.startswith("vidcost gate accept"):
            baseline("mfnet-nl", linear=153601)
            shutil.copy(tmp_path / "results/counts.jsonl", "results")

    return prepare


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(*each, id=": ".join(each).encode("ascii", "replace").decode())
        for each in SHOWN
        if each[1] not in NOT_RUN
    ],
)
def test_a_command_that_is_shown_runs(page, command, place, vidcost):
    command, _ = INSTEAD.get(command, (command, ""))
    place(page, command)
    program, *words = shlex.split(command)
    if program == "vidcost":
        status, out, err = vidcost(*words)
        assert 0 == status, err
    else:
        ran = subprocess.run(
            [sys.executable, "-m", program, *words],
            cwd=CHECKOUT,
            # a pytest of its own is no worker of this one
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
            capture_output=True,
            text=True,
            check=False,
        )
        status, out = ran.returncode, ran.stdout
        assert 0 == status, ran.stdout + ran.stderr
    assert out


def test_commands_are_left_out_by_name_alone():
    shown = {command for _, command in SHOWN}
    assert set() == (INSTEAD.keys() | NOT_RUN.keys()) - shown
    assert set() == INSTEAD.keys() & NOT_RUN.keys()


def test_commands_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ vidcost a && vidcost b  # why\nits output\n$ vidcost c \\\n  --d\n```\n"
        "```yaml\n$ none\n```\n| `vidcost e` | a command |\n| status | `vidcost` |\n"
    )
    assert ["vidcost a", "vidcost b", "vidcost c    --d", "vidcost e"] == commands(page)


# --- Python


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_an_example_runs_and_prints_what_it_says(
    page, number, place, monkeypatch, capsys, tmp_path
):
    place(page)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    before = set(sys.modules)
    block = examples(page)[number]
    capsys.readouterr()
    try:
        exec(compile(block, page, "exec"), {"__name__": "__main__"})
    finally:
        # another page may have a file of that name
        for name in set(sys.modules) - before:
            if not name.startswith("vidcost"):
                del sys.modules[name]
    check_output(block, capsys.readouterr().out)


def test_sessions_stand_where_doctest_runs_them():
    # tests/bench/api/test_docs.py does
    pages = [page for page in PAGES if any(map(is_session, fenced(page, "python")))]
    assert ["docs/api.md"] == pages


def check_output(block, out):
    """Hold what an example prints against the comments behind its prints."""
    said = re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert len(re.findall(r"^print\(", block, re.MULTILINE)) == len(said), (
        "a print without a comment"
    )
    printed = out.splitlines()
    assert len(said) == len(printed), out
    for expected, actual in zip(said, printed, strict=True):
        pattern = "*".join(re.sub(r"([\[*?])", r"[\1]", part) for part in expected.split("..."))
        assert fnmatch.fnmatchcase(actual, pattern), f"{actual!r} is not {expected!r}"


@pytest.mark.parametrize(
    ("comment", "fits"), [("7", True), ("8", False), ("Cost(a=7, ...)", False), ("...", True)]
)
def test_what_an_example_says_is_checked(comment, fits):
    block = f"print(3 + 4)  # {comment}\n"
    if fits:
        check_output(block, "7\n")
    else:
        with pytest.raises(AssertionError, match="is not"):
            check_output(block, "7\n")
    with pytest.raises(AssertionError, match="without a comment"):
        check_output("print(7)\n", "7\n")


# --- links and the citation


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    shown = re.sub(r"<!--.*?-->", "", text(page), flags=re.DOTALL)
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", shown)
    folder = (CHECKOUT / page).parent
    assert [] == [name for name, _ in targets if name and not (folder / name).exists()]
    for name, anchor in targets:
        if anchor:
            linked = ((folder / name) if name else CHECKOUT / page).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)$", linked, re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }


def test_every_page_is_in_the_index():
    index = text("docs/README.md")
    assert [] == [
        page
        for page in PAGES
        if page.startswith("docs/") and page != "docs/README.md"
        if f"]({page.removeprefix('docs/')})" not in index
    ]


def test_the_citation_is_that_of_this_version():
    citation = yaml.safe_load(text("CITATION.cff"))
    # required by version 1.2.0 of the format
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert "1.2.0" == citation["cff-version"]
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    project = re.search(r'^version = "(.*)"$', text("pyproject.toml"), re.MULTILINE)
    assert project[1] == citation["version"]
    assert "MIT" == citation["license"]
    (paper,) = citation["references"]
    assert "arXiv:2006.05091" == paper["identifiers"][0]["value"]
