"""The examples in docstrings and in docs/api.md run as they stand there."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "api.md"


@pytest.mark.parametrize("name", ["count", "explain", "time"])
def test_examples_in_docstrings(name):
    failed, attempted = doctest.testmod(import_module(f"vidcost.bench.api.{name}"))
    assert (0, True) == (failed, attempted >= 4)


def test_examples_in_the_document():
    failed, attempted = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert (0, True) == (failed, attempted >= 15)


def test_an_example_that_is_wrong_is_found():
    wrong = DOCUMENT.read_text(encoding="utf-8").replace("'not checked'", "'equal'")
    test = doctest.DocTestParser().get_doctest(wrong, {}, "wrong", None, 0)
    said = []
    failed, _ = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert failed >= 1
    assert "Expected:\n    'equal'\n" in "".join(said)
