"""The documentation: every command and Python example runs, and prints the output shown below it.

sybil finds the examples. A page's examples share a folder with the files that it shows and the
committed results. Nothing is timed, and reference counters answer at once: other tests run them.
`<!--- skip: next "reason" -->` above an example leaves it out.
"""

import contextlib
import doctest
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in CHECKOUT.glob("docs/*.md"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Python(PythonCodeBlockParser):
    """Python examples; one whose first line is `# NAME.py` is a file that others import."""

    def __init__(self) -> None:
        super().__init__(doctest_optionflags=FLAGS)
        self.codeblock_parser = CodeBlockParser("python", run_or_write)


def run_or_write(example: Example) -> None:
    named = re.match(r"# (\S+\.(?:py|toml))\n", example.parsed)
    if named:
        Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(named[1]).write_text(example.parsed)
    else:
        PythonEvaluator()(example)


def run_commands(example: Example) -> None:
    """Run the vidcost commands of a console block; other programs install or test."""
    for part in example.parsed.replace("\\\n", " ").split("$ ")[1:]:
        line, _, expected = part.partition("\n")
        for command in map(str.strip, re.sub(r"\s+# .*", "", line).split("&&")):
            program, *words = shlex.split(command)
            if program == "vidcost":
                status, out, err = example.namespace["run vidcost"](*words)
                assert 0 == status, f"{example.path}:{example.line}: {command}\n{err}"
            elif program in ("pytest", "cat") and Path(words[0]).exists():
                run = (
                    [sys.executable, "-m", "pytest", *words]
                    if program == "pytest"
                    else [program, *words]
                )
                done = subprocess.run(run, capture_output=True, text=True, check=False)
                assert 0 == done.returncode, done.stdout
                out = done.stdout if program == "cat" else ""
            else:
                continue
            assert_output(expected, out, f"{example.path}:{example.line}: {command}")


def assert_output(expected: str, out: str, where: str) -> None:
    """Compare what is shown below a command, if anything, with its output."""
    # Markdown tables end in empty lines, and doctest's blank lines are marked
    expected, out = (re.sub(r"\n{2,}", "\n", text).strip() + "\n" for text in (expected, out))
    same = doctest.OutputChecker().check_output(expected, out, FLAGS)
    assert same or not expected.strip(), f"{where}\n{out}"


SYBIL = Sybil(
    [
        Python(),
        CodeBlockParser("toml", run_or_write),
        CodeBlockParser("console", run_commands),
        SkipParser(),
    ]
)


@pytest.fixture
def place(vidcost, reference_counters, timed, monkeypatch, tmp_path):
    """The folder in which examples run."""
    shutil.copytree(CHECKOUT / "results", "results", ignore=lambda *_: ["gate"], dirs_exist_ok=True)
    Store(Path("results/timings/abacus.jsonl")).append(timed(Cell(row="mfnet", threads=3)))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("vidcost.bench.files.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    yield
    # another page may show a file of the same name
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(Path.cwd()):
            del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_examples_run_and_print_the_output_shown(
    page: str, place: None, vidcost: Callable[..., object]
) -> None:
    document = SYBIL.parse(CHECKOUT / page)
    document.namespace["run vidcost"] = vidcost
    for example in document.examples():
        with contextlib.suppress(SkipTest):
            example.evaluate()


@pytest.mark.parametrize("name", ["count", "time"])
def test_examples_in_docstrings(name: str) -> None:
    failed, attempted = doctest.testmod(import_module(f"vidcost.bench.api.{name}"))
    assert (0, True) == (failed, attempted >= 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("```console\n$ vidcost count\n12\n```\n", r"vidcost count\s+13"),
        ("```console\n$ vidcost count && vidcost fail\n```\n", r"vidcost fail\s+why"),
        ("```python\n>>> 3 + 4\n8\n```\n", r"Got:\s+7"),
        ("```python\nassert 3 + 4 == 8, 'no'\n```\n", "no"),
    ],
)
def test_a_wrong_example_fails(wrong: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(wrong)
    document = SYBIL.parse(page)
    document.namespace["run vidcost"] = lambda word: (word == "fail", "13\n", "why")
    (example,) = document.examples()
    # doctest's failure is an exception of its own
    with pytest.raises(Exception, match=said):
        example.evaluate()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = (CHECKOUT / page).parent / name if name else CHECKOUT / page
        assert linked.exists(), name
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
            assert anchor in [slug.replace(" ", "-") for slug in slugs]


def test_every_figure_is_a_result_or_the_output_of_an_example() -> None:
    kept = [p.read_text("utf-8") for p in CHECKOUT.glob("results/**/*") if p.suffix[1:] in KEPT]
    assert ["README.md: 12,345,678", "README.md: 9.87G"] == unknown("12,345,678 and 9.87G", kept)
    assert [] == [
        each
        for page in PAGES
        for each in unknown((CHECKOUT / page).read_text("utf-8"), kept, page=page)
    ]


KEPT = ("md", "jsonl", "csv")


def unknown(text: str, kept: list[str], page: str = "README.md") -> list[str]:
    """Integers in groups of three and figures with a unit that no result and no output has."""
    plain = set(re.findall(r"(?<![\d,])\d{4,}", text))
    stored = {n for each in kept for n in re.findall(r"\d+", each.replace(",", ""))} | plain
    # examples run, and their output is compared
    prose = re.sub(r"```.*?```|`[^`]+`", "", text, flags=re.DOTALL)
    grouped = re.findall(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\.?\d)", prose)
    short = re.findall(r"(?<![\d.])\d+\.\d{2,3}[GM]\b", prose)
    found = [n for n in grouped if n.replace(",", "") not in stored]
    found += [n for n in short if not any(n in each for each in kept)]
    return [f"{page}: {each}" for each in dict.fromkeys(found)]


def test_every_page_is_in_the_index() -> None:
    index = (CHECKOUT / "docs/README.md").read_text(encoding="utf-8")
    names = {Path(page).name for page in PAGES if page.startswith("docs/")} - {"README.md"}
    assert names == set(re.findall(r"\]\(([\w-]+\.md)\)", index)) & names


def test_the_citation_has_this_version() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    citation = (CHECKOUT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in citation.replace('"', "")
    assert "arXiv:2006.05091" in citation
