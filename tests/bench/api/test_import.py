"""The package: cheap to import, and three functions that come when they are asked for."""

import subprocess
import sys

import pytest

import vidcost


def test_importing_the_package_imports_neither_torch_nor_pandas():
    script = "import sys, vidcost; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "[]\n" == ran.stdout


def test_three_functions_beside_the_subpackages():
    from vidcost import bench, models, papers

    assert {"count", "time", "explain"} <= set(dir(vidcost))
    assert "vidcost.bench.api.count" == vidcost.count.__module__
    assert "vidcost.bench.api.time" == vidcost.time.__module__
    assert "vidcost.bench.api.explain" == vidcost.explain.__module__
    assert ["vidcost.bench", "vidcost.models", "vidcost.papers"] == [
        module.__name__ for module in (bench, models, papers)
    ]


def test_what_is_not_there_is_named():
    with pytest.raises(AttributeError, match="module 'vidcost' has no attribute 'energy'"):
        vidcost.energy  # noqa: B018


def test_the_old_name_of_explain_names_the_new_one():
    with pytest.raises(AttributeError, match=r"^vidcost\.ledger is now vidcost\.explain$"):
        vidcost.ledger  # noqa: B018
