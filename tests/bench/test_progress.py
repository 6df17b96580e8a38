import io
import time

import pytest
from rich.console import Console

from vidcost.bench import progress as module
from vidcost.bench.progress import alive, progress


def console(*, terminal):
    known = {"width": 120, "color_system": None, "legacy_windows": False}
    return Console(file=io.StringIO(), force_terminal=terminal, **known)


def test_a_terminal_shows_words_and_steps():
    shown = console(terminal=True)
    with progress("timing", 3, shown) as update:
        for words, done in (("± 0.8% [bold]", 0), ("mfnet: ok", 1), ("last", None)):
            update(words, done)
            shown._live_stack[0].refresh()
    text = shown.file.getvalue()
    assert all(each in text for each in ("± 0.8% [bold]", "0/3", "mfnet: ok", "1/3", "last", "2/3"))


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 0.02)


def waits_for(condition):
    return any(condition() or time.sleep(0.01) for _ in range(1_000))


def test_a_pipe_gets_a_line_every_while(often):
    shown = console(terminal=False)
    with progress("counting", 7, shown) as update:
        update("mfnet", 3)
        assert waits_for(lambda: "mfnet (3 of 7): 0 s\n" in shown.file.getvalue())


def test_work_without_steps_says_that_it_goes_on(often, capsys):
    said = []

    def waits_for_more():
        said.append(capsys.readouterr().err)
        return "formulas: 0 s\n" in "".join(said)

    with alive("formulas"):
        assert waits_for(waits_for_more)
        with progress("steps", 2):
            said.clear()
            assert waits_for(lambda: said.append(capsys.readouterr().err) or "steps" in said[-1])
            assert "formulas" not in "".join(said[2:])
