"""A Ray cluster of several nodes on this machine, shared by the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without CPUs and one node with two; tests may add nodes, and remove those again.

    `aws` is the file in which that node looks for an object store and its credentials.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"object_store_memory": 80 << 20, "include_dashboard": False}
    aws = tmp_path_factory.mktemp("node") / "aws.ini"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(aws))
        cluster = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
        cluster.add_node(num_cpus=2, **node)
    cluster.aws = aws
    yield cluster
    cluster.shutdown()
