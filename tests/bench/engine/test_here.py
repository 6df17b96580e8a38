import pytest

from vidcost.bench.engine.here import Here
from vidcost.bench.engine.work import Piece


def test_pieces_run_in_turn_and_only_when_they_are_asked_for():
    begun = []
    pieces = (Piece(str(n), lambda n=n: begun.append(n) or n * n, tag=n) for n in range(10**9))
    outcomes = Here().run(pieces)
    assert [(0, 0), (1, 1), (2, 4)] == [
        (outcome.piece.tag, outcome.get()) for outcome, _ in zip(outcomes, range(3), strict=False)
    ]
    # zip asks for one more than it gives
    assert [0, 1, 2, 3] == begun


def test_what_a_piece_raises_is_its_outcome_and_the_next_one_runs():
    def refuse():
        raise ValueError("no such thing")

    refused, done = Here().run([Piece("one", refuse), Piece("another", int)])
    with pytest.raises(ValueError, match="no such thing"):
        refused.get()
    assert 0 == done.get()


def test_everywhere_is_here():
    assert [7] == Here().everywhere(lambda n: n, 7, needs="machine")
