"""What tests of the command line with users' code share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vidcost.bench.inspection import counted
from vidcost.bench.isolation.call import Failed
from vidcost.bench.user.failure import UserCodeError


@pytest.fixture
def in_this_process(monkeypatch, tmp_path):
    """Have users' code counted here, which saves a process of seconds for each.

    That it is a process of its own, whatever happens there, is tested where it is called.
    """

    def call(limit_s, function, *args):
        try:
            return function(*args)
        except UserCodeError as error:
            raise Failed("raised", str(error)) from None

    monkeypatch.setattr(counted, "isolated", call)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]
