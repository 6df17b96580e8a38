import contextlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[1]


def run(*command, cwd, **environment):
    ran = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        check=False,
    )
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    leave = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(CHECKOUT, source, ignore=leave)
    run(
        *"-m pip wheel --quiet --no-deps --no-index --no-build-isolation -w out".split(),
        str(source),
        cwd=folder,
    )
    (path,) = (folder / "out").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_the_wheel_holds_every_module_and_the_data_of_papers_and_the_page(wheel):
    data = {"bench": (".j2", ".css", ".js"), "papers": (".toml", ".j2")}
    packages = {"models": "vidcost", "bench": "vidcost", "papers": "vidcost", "src": "."}
    expected = {"vidcost/py.typed"}
    for folder, package in packages.items():
        for path in (CHECKOUT / folder).rglob("*.*"):
            if path.suffix in (".py", *data.get(folder, ())) and "suites" not in path.parts:
                inside = path.relative_to(CHECKOUT / "src" if folder == "src" else CHECKOUT)
                expected.add((Path(package) / inside).as_posix())
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert len(expected) > 30
    assert expected == names


def test_the_installed_wheel_reads_the_printed_figures(installed, tmp_path):
    program = (
        "import vidcost.papers.catalog as p; print(p.__file__); "
        "print(p.paper().table(3)[0].params.printed)"
    )
    file, printed = run("-c", program, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()
    assert "7.843M" == printed
    assert Path(file).is_relative_to(installed)


def test_the_wheel_installs_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "vidcost = vidcost.bench.cli:main" in archive.read(name).decode().splitlines()


def test_models_import_nothing_but_torch(installed, tmp_path):
    program = "import sys, vidcost.models.registry; print(*sys.modules)"
    modules = run("-c", program, cwd=tmp_path, PYTHONPATH=str(installed)).split()
    tops = {module.split(".")[0] for module in modules}
    assert "torch" in tops
    assert set() == tops & {"fvcore", "thop", "pandas", "rich", "typer", "pydantic"}
    assert "vidcost.bench" not in modules


def distributions(names):
    """Those of ``names`` and what they need, without any extra, as far as it is installed here."""
    found = {}
    while names:
        name = canonicalize_name(names.pop())
        with contextlib.suppress(PackageNotFoundError):
            if name not in found:
                found[name] = distribution(name)
                names += [each.name for each in needed(found[name].requires or ())]
    return found.values()


def needed(lines):
    wanted = map(Requirement, lines)
    return [each for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """A fresh environment with the wheel and the core's dependencies alone; runs the command."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("vidcost-*.dist-info")
    for each in distributions([r.name for r in needed(PathDistribution(metadata).requires)]):
        for top in {file.parts[0] for file in each.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(each.locate_file(top))

    def run(*words):
        python = folder / "bin/python"
        command = [python, "-W", "error", "-m", "vidcost", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "list mfnet",
        "count mfnet-nl --training",
        "count nl --shape 384x8x14x14",
        "compare mfnet --at conv4:before-last --block nl --size 64 --budget 0s --no-fvcore",
        "time --blocks nl --shape 4x2x5x7 --budget 2s",
    ],
)
def test_the_core_works_alone(core, words):
    ran = core(*words.split(), "--json")
    assert 0 == ran.returncode, ran.stderr
    assert json.loads(ran.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("report", "report"),
        ("report", "formulas"),
        ("query", "query select_1"),
        ("ray", "time mfnet --engine ray"),
        ("junit", "gate replay gate.json --junit gate.xml"),
    ],
)
def test_a_missing_extra_is_one_line(core, extra, words):
    ran = core(*words.split())
    assert (2, "", 1) == (ran.returncode, ran.stdout, ran.stderr.count("\n")), ran.stderr
    assert f"`pip install 'vidcost[{extra}]'` installs" in ran.stderr


@pytest.mark.slow
def test_counters_that_are_not_installed_are_a_line_each_beside_those_that_are(core):
    ran = core("explain", "mfnet", "--json")
    assert {"thop-2020", "torch"} <= {line["counter"] for line in json.loads(ran.stdout)}
    missing = [line for line in ran.stderr.splitlines() if "vidcost[reference]" in line]
    assert (1, 2) == (ran.returncode, len(missing))
