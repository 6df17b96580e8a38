"""Small repositories of somebody else, in five layouts, each with a network and its tests."""

import subprocess
import sys
from pathlib import Path

from ..repository import Repository

NET = """
from collections import OrderedDict

from torch import nn

BLOCKS = 2


def block():
    return nn.Sequential(nn.Conv3d(5, WIDE, 1), nn.ReLU(), nn.Conv3d(WIDE, 5, 1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Conv3d(5, 5, 1)

    def forward(self, x):
        rows = self.project(x).flatten(2).transpose(1, 2)
        mixed = (rows @ rows.transpose(1, 2)).softmax(-1) @ rows
        return x + mixed.transpose(1, 2).reshape(x.shape)


WIDE = 6


def make():
    parts = OrderedDict(stem=nn.Conv3d(3, 5, 1))
    parts["blocks"] = nn.Sequential(*[block() for _ in range(BLOCKS)])
    parts["attention"] = Attention()
    parts["head"] = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 2))
    return nn.Sequential(parts)
"""
WORK = """
N = 20_000


def work():
    return sum(range(N))
"""
IN_C = """
#include <Python.h>
static PyObject *work(PyObject *self, PyObject *none) {
    volatile long sum = 0;
    for (long i = 0; i < 20000 * 50; i++) sum += i;
    return PyLong_FromLong(sum);
}
static PyMethodDef methods[] = {{"work", work, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_work", "", -1, methods};
PyMODINIT_FUNC PyInit__work(void) { return PyModule_Create(&module); }
"""
SETUP = """
from setuptools import Extension, setup

setup(ext_modules=[Extension("lab._work", ["lab/_work.c"])])
"""
COST = """
from {name}.net import make


def test_cost(count_snapshot):
    count_snapshot(make(), (1, 3, 7, 11, 1))
"""
SPEED = """
import pytest
from {name}.work import work


@pytest.mark.vidcost(margin="50%", find="90%")
def test_work(time_gate):
    time_gate(work)
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "lab"
version = "1"
dependencies = []

[tool.setuptools]
{packages}

[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
pythonpath = {pythonpath}

[tool.vidcost.time]
install = {install}
"""

# by layout: the folder of the package, its name, pytest's path, what setuptools is told
LAYOUTS = {
    "src": ("src/lab", "lab", ["src"], 'package-dir = {"" = "src"}\npackages = ["lab"]'),
    "flat": ("lab", "lab", ["."], 'packages = ["lab"]'),
    "namespace": ("acme/lab", "acme.lab", ["."], 'packages = ["acme.lab"]'),
    # installed with pip install -e, which gives the folder another name
    "editable": ("python", "lab", [], 'package-dir = {"lab" = "python"}\npackages = ["lab"]'),
    "extension": ("lab", "lab", ["."], 'packages = ["lab"]'),
}


def pip(*words: str) -> None:
    """Install without an index."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-deps", "--no-build-isolation", *words], check=True)


class Lab(Repository):
    """A git repository with one commit on main; ``package`` is the folder of its package."""

    def __init__(self, folder: Path, layout: str, *, install: bool = False) -> None:
        super().__init__(folder)
        self.package, self.name, pythonpath, packages = LAYOUTS[layout]
        self.write("net.py", NET)
        self.write("work.py", WORK)
        if layout != "namespace":
            self.write("__init__.py", "")
        if layout == "extension":
            self.write("_work.c", IN_C)
            self.write("work.py", "from lab._work import work\n")
            self.write("net.py", f"from lab.work import work\n{NET}")
            self.write("/setup.py", SETUP)
        known = {"packages": packages, "pythonpath": pythonpath, "install": str(install).lower()}
        self.write("/pyproject.toml", PROJECT.format(**known))
        self.write("/tests/test_cost.py", COST.format(name=self.name))
        self.write("/tests/perf/test_speed.py", SPEED.format(name=self.name))
        self.write("/.gitignore", "*.so\nbuild\n*.egg-info\n__pycache__\ngate.json\nsite\n")
        if layout == "editable":
            pip("--target", str(folder / "site"), "-e", str(folder))
            found = f"site.addsitedir({str(folder / 'site')!r})"
            self.write("/conftest.py", f"import site\n\n{found}\n")
        self.begin()

    def path(self, name: str) -> Path:
        """A file of the package, or with a slash before it of the repository."""
        return self.folder / (name[1:] if name.startswith("/") else f"{self.package}/{name}")

    def build(self) -> None:
        """Compile the extension beside its source, as a developer does."""
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(command, cwd=self.folder, check=True)
