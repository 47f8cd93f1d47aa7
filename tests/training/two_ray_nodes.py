"""Two Ray nodes on this machine, for test_ray_backend.py, until the standard input ends."""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

OPTIONS = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


def main() -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"node_ip_address": "127.0.0.2", **OPTIONS}
    )
    second = cluster.add_node(node_ip_address="127.0.0.3", **OPTIONS)
    cluster.wait_for_nodes()
    nodes = [cluster.head_node.node_id, second.node_id]
    print(json.dumps({"address": cluster.address, "nodes": nodes}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
