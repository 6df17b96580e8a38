"""What is refused in a line before any work is done."""

import contextlib
import socket
import sys

import pytest

from vidcost.bench.engine import cluster


def refused(address=None, **options):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error, cluster.joined(address, **options):
        pass
    return str(error.value)


def test_without_the_package_what_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert '--engine ray needs the package ray: pip install "vidcost[ray]"' == refused()


@pytest.mark.ray
@pytest.mark.parametrize("by", ["option", "RAY_ADDRESS"])
def test_an_address_where_nothing_answers(ray, monkeypatch, by):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    if by == "RAY_ADDRESS":
        monkeypatch.setenv(by, address)
    said = refused(address if by == "option" else None)
    assert said.startswith(f"no Ray cluster answers at {address} ([Errno")
    assert said.endswith("`ray start --head` begins one")


@pytest.mark.ray
@pytest.mark.parametrize("address", ["somewhere", "host:", ":6379", "host:six"])
def test_what_is_no_address(ray, address):
    assert f"--address {address} is none: give host:port, such as 10.0.0.1:6379" == refused(address)


@pytest.mark.ray
def test_a_client_of_another_machine_is_told_how_to_hand_over_the_command(ray):
    assert "hand the command to `ray job submit`" in refused("ray://10.0.0.1:10001")


def node(**resources):
    labels = resources.pop("labels", {})
    return {
        "Alive": resources.pop("alive", True),
        "NodeID": "7",
        "NodeManagerHostname": "h",
        "Labels": labels,
        "Resources": resources,
    }


@pytest.fixture
def there(monkeypatch):
    """Have a cluster of such nodes."""

    class Ray:
        nodes = staticmethod(lambda: listed)

    listed = []
    monkeypatch.setattr(cluster, "ray_module", lambda: Ray)
    return listed


H100 = {cluster.TYPE_LABEL: "H100"}


def test_nodes_are_read_with_the_type_of_their_gpus(there):
    there += [
        node(CPU=8.0, GPU=2.0, labels=H100),
        node(CPU=4.0, GPU=1.0, **{"accelerator_type:A100": 1.0}),
        node(CPU=1.0, alive=False),
        node(),
    ]
    assert [(8, 2, "H100"), (4, 1, "A100"), (0, 0, "")] == [
        (found.cores, found.gpus, found.gpu_type) for found in cluster.nodes()
    ]


@pytest.mark.parametrize(
    ("needs", "types", "suits"),
    [
        ("core", (), [True, False, True]),
        ("machine", (), [True, False, True]),
        ("gpu", (), [True, False, False]),
        ("gpu", ("H100",), [True, False, False]),
        ("gpu", ("A100",), [False, False, False]),
    ],
)
def test_what_a_node_could_do(there, needs, types, suits):
    # half a GPU is none, and a head without cores does nothing
    there += [node(CPU=8.0, GPU=2.0, labels=H100), node(GPU=0.5), node(CPU=1.0)]
    assert suits == [found.suits(needs, types) for found in cluster.nodes()]


def test_types_are_found_however_they_are_written(there):
    there += [node(GPU=2.0, labels=H100)]
    assert ("H100",) == cluster.check_types(["h100"])
    assert () == cluster.check_types([])


@pytest.mark.parametrize(
    ("nodes", "asked", "said"),
    [
        ([node(CPU=1.0)], [], "^the Ray cluster has no GPU: give --device cpu$"),
        ([node(GPU=2.0, labels=H100)], ["A100"], "^the Ray cluster has no GPU of type 'A100': it "),
        ([node(GPU=2.0)], ["A100"], "it says no types$"),
    ],
)
def test_gpus_that_are_not_there(there, nodes, asked, said):
    there += nodes
    with pytest.raises(ValueError, match=said):
        cluster.check_types(asked)
