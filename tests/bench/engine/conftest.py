"""One Ray cluster of three nodes on this machine, for all the tests on Ray."""

from __future__ import annotations

import os

import pytest

from vidcost.bench.engine import on_ray
from vidcost.bench.engine.on_ray import TYPE_LABEL, OnRay

STORE_BYTES = 80 << 20
"""The smallest that Ray takes."""


@pytest.fixture(scope="session")
def cluster():
    """A head without cores and three nodes, two of which say that they have GPUs."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        why = "no ray here: `pip install -c constraints.txt -e '.[ray]'` adds it"
        (pytest.fail if "TOX_ENV_NAME" in os.environ else pytest.skip)(why)
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        started.others = [
            started.add_node(object_store_memory=STORE_BYTES, num_cpus=2, **gpus)
            for gpus in (
                {},
                {"num_gpus": 2, "labels": {TYPE_LABEL: "H100"}},
                {"num_gpus": 1, "labels": {TYPE_LABEL: "A100"}},
            )
        ]
        yield started
    finally:
        started.shutdown()


@pytest.fixture
def engine(cluster, request):
    """The cluster as an engine. The test's module is sent to the nodes, which cannot import it."""
    import ray

    ray.cloudpickle.register_pickle_by_value(request.module)
    try:
        with on_ray.joined(cluster.address):
            yield OnRay()
    finally:
        ray.cloudpickle.unregister_pickle_by_value(request.module)
