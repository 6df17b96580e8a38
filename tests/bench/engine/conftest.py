"""A Ray cluster of several nodes on one machine."""

from __future__ import annotations

import contextlib
import os

import pytest

from vidcost.bench.engine import cluster as ray_cluster
from vidcost.bench.engine.on_ray import OnRay

STORE_BYTES = 80 << 20
"""The smallest that Ray takes."""


@pytest.fixture(scope="session")
def ray():
    """The package; without it these tests are skipped, but in tox they fail."""
    try:
        import ray
    except ImportError:
        why = "no ray here: `pip install -c constraints.txt -e '.[ray]'` adds it"
        (pytest.fail if "TOX_ENV_NAME" in os.environ else pytest.skip)(why)
    return ray


@pytest.fixture(scope="module")
def begin(ray):
    """Begin a cluster of a head without cores and the nodes that are given; all end with it."""
    from ray.cluster_utils import Cluster

    with contextlib.ExitStack() as stack:

        def begin(*nodes):
            head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
            begun = Cluster(initialize_head=True, head_node_args=head)
            stack.callback(begun.shutdown)
            begun.others = [begun.add_node(object_store_memory=STORE_BYTES, **n) for n in nodes]
            return begun

        yield begin


@pytest.fixture(scope="module")
def joined(ray, request, cluster):
    """Drive the module's cluster from here, as one job.

    What the module defines is sent to the nodes, which cannot import it.
    """
    ray.cloudpickle.register_pickle_by_value(request.module)
    try:
        with ray_cluster.joined(cluster.address):
            yield cluster
    finally:
        ray.cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture
def engine(joined):
    """The cluster as an engine; ``engine.notes`` is what it said."""
    notes = []
    engine = OnRay(on_note=notes.append)
    engine.notes = notes
    return engine
