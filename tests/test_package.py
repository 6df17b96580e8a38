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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    leave = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(CHECKOUT, source, ignore=leave)
    words = "-m pip wheel --quiet --no-deps --no-index --no-build-isolation -w out ./source"
    subprocess.check_call([sys.executable, *words.split()], cwd=folder)
    (path,) = (folder / "out").iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_every_module_the_data_of_papers_and_the_page_and_the_command(wheel):
    data = {"bench": (".j2", ".css", ".js"), "papers": (".toml", ".j2"), "atlas": (".toml",)}
    packages = dict.fromkeys(("models", "bench", "papers", "atlas"), "vidcost") | {"src": "."}
    expected = {"vidcost/py.typed"}
    for folder, package in packages.items():
        for path in (CHECKOUT / folder).rglob("*.*"):
            if path.suffix in (".py", *data.get(folder, ())):
                inside = path.relative_to(CHECKOUT / "src" if folder == "src" else CHECKOUT)
                expected.add((Path(package) / inside).as_posix())
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert len(expected) > 30
    assert expected == names
    (commands,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    assert "vidcost = vidcost.bench.cli:main" in wheel.read(commands).decode().splitlines()


def test_the_installed_wheel_reads_printed_figures_and_models_import_only_torch(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    program = (
        "import sys, vidcost.models.registry; print(*sys.modules)\n"
        "import vidcost.papers.catalog as p; print(p.__file__)\n"
        "print(p.paper().table(3)[0].params.printed)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", program]
    out = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    modules, file, printed = out.splitlines()
    assert "7.843M" == printed
    assert Path(file).is_relative_to(tmp_path)
    tops = {module.split(".")[0] for module in modules.split()}
    assert "torch" in tops
    assert set() == tops & {"fvcore", "thop", "pandas", "rich", "typer", "pydantic"}
    assert "vidcost.bench" not in modules.split()


@pytest.mark.slow
def test_the_suites_of_the_installed_wheel_time_a_users_network_too(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    (tmp_path / "my_net.py").write_text(
        "from torch.nn import Conv3d\n\nmake = lambda: Conv3d(3, 5, 1)"
    )
    own = ["--vidcost-target=my_net.py:make", "--vidcost-input=1x3x4x5x6", "-k", "my_net"]
    words = ["-p", "no:cacheprovider", "--strict-markers", "--benchmark-json=b.json", *own]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "vidcost.bench.suites", *words],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout
    (timed,) = json.loads((tmp_path / "b.json").read_text())["benchmarks"]
    assert "test_latency[my_net.py:make]" == timed["name"]


def distributions(lines):
    """What ``lines`` require, and what that requires without any extra, as far as it is here."""
    found, lines = {}, [*lines]
    while lines:
        wanted = Requirement(lines.pop())
        name = canonicalize_name(wanted.name)
        is_needed = not wanted.marker or wanted.marker.evaluate({"extra": ""})
        with contextlib.suppress(PackageNotFoundError):
            if is_needed and name not in found:
                found[name] = distribution(name)
                lines += found[name].requires or ()
    return found.values()


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """A fresh environment with the wheel and the core's dependencies alone; runs the command."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    wheel.extractall(site)
    (metadata,) = site.glob("vidcost-*.dist-info")
    for each in distributions(PathDistribution(metadata).requires):
        for top in {file.parts[0] for file in each.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(each.locate_file(top))

    def run(words):
        command = [folder / "bin/python", "-W", "error", "-m", "vidcost", *words.split()]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "list mfnet",
        "count mfnet-nl --training",
        "count nl --shape 384x8x14x14",
        "compare mfnet --at conv4:before-last --block nl --size 64 --budget 0s",
        "time --blocks nl --shape 4x2x5x7 --budget 2s",
    ],
)
def test_the_core_works_alone(core, words):
    ran = core(f"{words} --json")
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
    ran = core(words)
    assert (2, "", 1) == (ran.returncode, ran.stdout, ran.stderr.count("\n")), ran.stderr
    assert f"`pip install 'vidcost[{extra}]'` installs" in ran.stderr


@pytest.mark.slow
def test_counters_that_are_not_installed_are_a_line_each_beside_those_that_are(core):
    ran = core("explain mfnet --json")
    assert {"thop-2020", "torch"} <= {line["counter"] for line in json.loads(ran.stdout)}
    missing = [line for line in ran.stderr.splitlines() if "vidcost[reference]" in line]
    assert (1, 2) == (ran.returncode, len(missing))
