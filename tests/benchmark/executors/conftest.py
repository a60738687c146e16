"""A Ray cluster of several nodes on this machine, shared by the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A head without CPUs and one node with two; tests may add nodes, and remove those again."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
    cluster.add_node(num_cpus=2, **node)
    yield cluster
    cluster.shutdown()
