"""Machines that come on demand: `eval --workers N` on a cluster whose autoscaler has none yet.

    python tests/bench/on_demand.py --workers 2

Ray's autoscaler works as in a cloud, but its machines are further nodes on this one. Prints the
number of machines when it changes, ending with none, which takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

PORT = 6399
IDLE_SECONDS = 20
LISTS = ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands")
LISTS += ("setup_commands", "head_setup_commands", "worker_setup_commands")
LISTS += ("head_start_ray_commands", "worker_start_ray_commands")


class Machines(FakeMultiNodeProvider):
    """Ray's, whose node types may state memory, as those of a cloud do."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: int, resources: dict[str, Any], labels: Any
    ) -> None:
        kept = {name: amount for name, amount in resources.items() if name != "memory"}
        super()._create_node_with_resources_and_labels(node_config, tags, count, kept, labels)


def config(most: int) -> dict[str, Any]:
    """A cluster of a head that computes nothing and up to `most` machines."""
    provider = {"type": "external", "module": "on_demand.Machines", "launch_multiple": True}
    provider |= {"gcs_address": f"127.0.0.1:{PORT}", "use_node_id_as_ip": True}
    off = dict.fromkeys(("worker_liveness_check",), False)
    on = dict.fromkeys(("disable_node_updaters", "disable_launch_config_check"), True)
    worker = {"resources": {"CPU": 1, "memory": 3 << 30}, "min_workers": 0, "max_workers": most}
    head = {"resources": {"CPU": 0}, "max_workers": 0}
    return {
        "cluster_name": "on-demand",
        "max_workers": most,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "provider": provider | off | on,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "available_node_types": {
            "ray.head.default": {**head, "node_config": {}},
            "worker": {**worker, "node_config": {}},
        },
        "head_node_type": "ray.head.default",
        **{name: [] for name in LISTS},
    }


def machines() -> int:
    """Nodes that are alive, without the head."""
    return sum(node["Alive"] for node in ray.nodes()) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--task", default="oneshot-family")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    os.environ |= {"PYTHONPATH": str(Path(__file__).parent), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSL_BENCH_CACHE"] = f"{folder}/cache"
        path = Path(folder, "cluster.yaml")
        path.write_text(json.dumps(config(options.workers + 1)))
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
             "--node-ip-address=127.0.0.1", f"--port={PORT}", "--num-cpus=0",
             "--ray-client-server-port=9801", "--include-dashboard=false",
             f"--autoscaling-config={path}", f"--temp-dir={folder}/ray"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not list(Path(folder).glob("ray/session_2*/logs/monitor.log")):
                assert head.poll() is None, "the head ended"
                time.sleep(1)
            ray.init(f"127.0.0.1:{PORT}", log_to_driver=False, logging_level="ERROR")
            evaluate(options.task, options.workers, folder)
        finally:
            ray.shutdown()
            head.terminate()
            head.wait()


def evaluate(task: str, workers: int, folder: str) -> None:
    """Run, and print how many machines there are until none is left."""
    command = [sys.executable, "-m", "benchmark.cli", "eval", "--model", "mfcc", "--task", task]
    command += ["--executor", "ray", "--address", f"127.0.0.1:{PORT}", "--device", "cpu"]
    run = subprocess.Popen(
        [*command, "--workers", str(workers), "--out", f"{folder}/out"], stdout=subprocess.DEVNULL
    )
    begun, before, most = time.monotonic(), -1, 0
    while run.poll() is None or before:
        now = machines()
        if now != before:
            state = "ended" if run.poll() is not None else "runs"
            print(f"{time.monotonic() - begun:5.0f} s: {now} machines, the run {state}", flush=True)
        before, most = now, max(most, now)
        time.sleep(1)
    assert run.returncode == 0
    assert most == workers
    print(f"{len(list(Path(folder, 'out/results').iterdir()))} results")


if __name__ == "__main__":
    main()
