import io

import pytest
from rich.console import Console

from vidcost.bench.session.timing_progress import estimate, progress
from vidcost.bench.timing import events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Chunk, Limits

CELL = Cell(row="mfnet-nl")


@pytest.mark.parametrize(
    ("expected", "precision"),
    [("12 samples, 430.1 ms ± 0.8%", 0.0081), ("12 samples, 430.1 ms", None)],
)
def test_the_estimate_so_far_has_its_interval(expected, precision):
    chunk = Chunk(samples=12, median_s=0.4301, precision=precision, sampling_s=5.2)
    assert expected == estimate(chunk)


def shown(*happened, terminal=True):
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=120,
        color_system=None,
        legacy_windows=False,
    )
    with progress(console, 3) as on_event:
        for event in happened:
            on_event(event)
            # the bar draws itself ten times a second
            console._live_stack[0].refresh() if console._live_stack else None
    return console.file.getvalue()


def test_a_terminal_shows_cell_estimate_and_how_many_are_done(timed):
    chunk = Chunk(samples=12, median_s=0.4301, precision=0.008, sampling_s=5.2)
    text = shown(
        events.CellStarted(CELL, 1, 3, Limits()),
        events.ChunkTaken(CELL, chunk, "keep"),
        events.ChunkTaken(CELL, chunk, "void"),
        events.CellDone(CELL, timed(CELL)),
        events.CellStarted(CELL, 1, 3, Limits(), again=True),
        events.CellDone(CELL, timed(CELL)),
    )
    words = [
        "mfnet-nl: warming up",
        "mfnet-nl: 12 samples, 430.1 ms ± 0.8%",
        "± 0.8%, throttled",
        "mfnet-nl, again: warming up",
    ]
    assert [] == [word for word in words if word not in text]
    # measured twice is done once
    assert ("1/3" in text, "2/3" in text) == (True, False)


def test_what_was_stored_already_is_done(timed):
    other = CELL.model_copy(update={"batch": 2})
    text = shown(events.CellSkipped(CELL, timed(CELL)), events.CellSkipped(other, timed(other)))
    assert "2/3" in text


def test_a_pipe_shows_nothing(timed):
    assert "" == shown(
        events.CellStarted(CELL, 1, 3, Limits()), events.CellDone(CELL, timed(CELL)), terminal=False
    )
