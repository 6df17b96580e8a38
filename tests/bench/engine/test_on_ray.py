"""Pieces on a real Ray cluster: three nodes on one machine, with GPUs that are none."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidcost.bench.engine import on_ray
from vidcost.bench.engine.cluster import TYPE_LABEL
from vidcost.bench.engine.on_ray import OnRay
from vidcost.bench.engine.work import Lost, Piece, Unfit

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster(begin):
    return begin(
        {"num_cpus": 1},
        {"num_cpus": 3, "num_gpus": 2, "labels": {TYPE_LABEL: "H100"}},
        {"num_cpus": 2, "num_gpus": 1, "labels": {TYPE_LABEL: "A100"}},
    )


def square(n):
    return n * n


def here():
    import ray

    return ray.get_runtime_context().get_node_id()


def nap(seconds):
    """From when to when this ran, on which node and GPU."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic(), here(), os.environ.get("CUDA_VISIBLE_DEVICES")


def overlapping(ran, place):
    """Pairs that ran at once in one place."""
    return [
        (one, other)
        for one, other in itertools.combinations(ran, 2)
        if place(one) == place(other) and one[0] < other[1] and other[0] < one[1]
    ]


def results(engine, pieces):
    return [outcome.get() for outcome in engine.run(pieces)]


def test_every_piece_has_its_outcome_with_where_it_ran(engine):
    notes = engine.notes
    outcomes = list(engine.run(Piece(str(n), square, (n,), tag=n) for n in range(40)))
    assert {n: n * n for n in range(40)} == {each.piece.tag: each.get() for each in outcomes}
    assert all(each.host and len(each.node) > 20 for each in outcomes)
    assert [] == notes


def test_a_piece_that_needs_a_machine_shares_its_node_with_nothing(engine):
    alone = [Piece("alone", nap, (0.2,), "machine", tag="alone") for _ in range(9)]
    beside = [Piece("beside", nap, (0.1,), "core", tag="beside") for _ in range(9)]
    mixed = [piece for pair in zip(alone, beside, strict=True) for piece in pair]
    outcomes = list(engine.run(mixed))
    ran = [(*each.get(), each.piece.tag) for each in outcomes]
    whole = [each for each in ran if each[-1] == "alone"]
    assert 3 == len({node for _, _, node, _, _ in whole})
    assert [] == [
        pair
        for pair in overlapping(ran, lambda each: each[2])
        if "alone" in (pair[0][-1], pair[1][-1])
    ]


def test_no_two_pieces_have_one_gpu_at_once(engine):
    ran = results(engine, [Piece("n", nap, (0.2,), "gpu") for _ in range(15)])
    places = {(node, gpu) for _, _, node, gpu in ran}
    assert 3 == len(places)
    assert all(gpu in ("0", "1") for _, gpu in places)
    assert [] == overlapping(ran, lambda each: each[2:4])


@pytest.mark.parametrize(("types", "count"), [(["A100"], 1), (["H100"], 2), (["A100", "H100"], 3)])
def test_a_type_of_gpu_is_kept_to(cluster, joined, types, count):
    engine = OnRay(gpu_types=types)
    ran = results(engine, [Piece("n", nap, (0.05,), "gpu") for _ in range(4 * count)])
    assert count >= len({(node, gpu) for _, _, node, gpu in ran})
    known = dict(zip(("A100", "H100"), reversed(cluster.others[1:]), strict=True))
    assert {node for _, _, node, _ in ran} <= {known[each].node_id for each in types}


def test_everywhere_is_each_node_that_could_do_it(engine, cluster):
    ids = [node.node_id for node in cluster.others]
    assert sorted(ids) == sorted(engine.everywhere(here, needs="machine"))
    assert sorted(ids[1:]) == sorted(engine.everywhere(here, needs="gpu"))


def test_where_nothing_could_do_it_is_said(joined):
    engine = OnRay(gpu_types=["B200"])
    with pytest.raises(ValueError, match=r"^no node of the Ray cluster has such a GPU: "):
        engine.everywhere(here, needs="gpu")


# what goes wrong


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(kind):
    if kind == "odd":
        raise Odd(1, 2)
    raise {"value": ValueError, "key": KeyError}[kind](kind)


def test_what_a_piece_raises_is_its_outcome(engine):
    kinds = ("value", "key", "odd")
    outcomes = {
        each.piece.tag: each.error
        for each in engine.run(Piece(kind, fail, (kind,), tag=kind) for kind in kinds)
    }
    assert ["ValueError('value')", "KeyError('key')"] == [repr(outcomes[k]) for k in kinds[:2]]
    # it cannot be made anew from what it holds
    assert "RuntimeError('Odd: 1 and 2')" == repr(outcomes["odd"])


def die_at_first(path, times):
    tried = len(Path(path).read_text()) if Path(path).exists() else 0
    Path(path).write_text("x" * (tried + 1))
    if tried < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tried


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(on_ray, "PAUSES_S", (0, 0))


def test_a_piece_whose_process_is_killed_is_tried_again(engine, at_once, tmp_path):
    notes = engine.notes
    piece = Piece("the cell", die_at_first, (str(tmp_path / "tries"), 2))
    assert [2] == results(engine, [piece])
    assert 2 == len(notes)
    assert all(note.startswith("the cell is tried again: WorkerCrashedError: ") for note in notes)


def test_a_piece_that_always_dies_is_lost_and_the_next_one_runs(engine, at_once, tmp_path):
    pieces = [
        Piece("one", die_at_first, (str(tmp_path / "tries"), 9)),
        Piece("another", square, (3,)),
    ]
    by_name = {each.piece.name: each for each in engine.run(pieces)}
    assert 9 == by_name["another"].get()
    with pytest.raises(Lost, match=r"^lost 3 times, at last: WorkerCrashedError: [^\n]+$"):
        by_name["one"].get()
    assert "xxx" == (tmp_path / "tries").read_text()


def refuse_on(node):
    if here() == node:
        raise Unfit("its GPU fell off the bus")
    # the others are busy for longer
    time.sleep(0.2)
    return here()


@pytest.mark.parametrize("needs", ["core", "machine", "gpu"])
def test_what_one_machine_cannot_do_is_tried_elsewhere(engine, at_once, cluster, needs):
    """However soon it is free again each time."""
    broken = cluster.others[1].node_id
    pieces = [Piece(str(n), refuse_on, (broken,), needs) for n in range(12)]
    found = results(engine, pieces)
    assert 12 == len(found)
    assert broken not in found
    assert engine.notes
    assert all(note.endswith(": its GPU fell off the bus") for note in engine.notes)


def large(n):
    return bytes(n << 20)


def test_more_than_the_object_store_holds_passes_through(engine):
    """Twelve times 20 MB, where a node's store has 80."""
    outcomes = engine.run(Piece("n", large, (20,)) for _ in range(12))
    assert [20 << 20] * 12 == [len(outcome.get()) for outcome in outcomes]


def test_pieces_are_asked_for_when_there_is_room(engine):
    asked = []

    def pieces():
        for n in range(60):
            asked.append(n)
            yield Piece(str(n), square, (n,))

    outcomes = engine.run(pieces())
    for _ in range(30):
        next(outcomes)
    # six cores, and as many again that wait for one
    assert len(asked) <= 30 + 2 * 6
    # none is cancelled in the moment in which it begins or ends
    assert 30 == len(list(outcomes))


def hang(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_whoever_stops_ends_what_runs(engine, tmp_path):
    pid = tmp_path / "pid"
    outcomes = engine.run([Piece("one", hang, (str(pid),)), Piece("another", square, (3,))])
    assert 9 == next(outcomes).get()
    while not pid.exists() or not pid.read_text():
        time.sleep(0.05)
    outcomes.close()
    assert gone(int(pid.read_text()))


def test_what_waits_is_ended_before_what_runs(monkeypatch):
    ended = []
    noting = SimpleNamespace(cancel=lambda ref, force: ended.append(ref))
    monkeypatch.setattr(on_ray, "ray_module", lambda: noting)
    run = on_ray._Run(OnRay(), [])
    run._flying = dict.fromkeys(["runs", "waits", "waits too"])
    run.close()
    assert ["waits too", "waits", "runs"] == ended


def test_a_node_that_is_lost_costs_a_try_and_no_piece(engine, cluster, at_once):
    """The last test of this file, which leaves two nodes."""
    lost = cluster.others.pop()
    found = []
    for outcome in engine.run(Piece(str(n), nap, (0.3,), "machine", tag=n) for n in range(18)):
        found.append((outcome.piece.tag, outcome.get()[2]))
        if len(found) == 6:
            cluster.remove_node(lost, allow_graceful=False)
    assert list(range(18)) == sorted(tag for tag, _ in found)
    nodes = [node for _, node in found]
    assert lost.node_id in nodes[:6]
    assert {node.node_id for node in cluster.others} == set(nodes[8:])
    assert 1 <= len(engine.notes)
