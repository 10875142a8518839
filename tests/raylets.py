"""A Ray cluster of two machines on this one, the second of which can be lost and comes back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

STORE = 100 * 2**20  # bytes of each machine's store of objects: the least with which Ray works well
QUIET = pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")  # what Ray begins are new programs
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all listen at loopback only
    "RAY_worker_niceness": "0",  # tests are not to wait for whatever else this machine does
    "RAY_health_check_period_ms": "500",  # a machine that is killed is missed after seconds, not after half a minute
    "RAY_health_check_initial_delay_ms": "500",
}
os.environ.update(ENVIRONMENT)  # at once: Ray looks at some of it when it is imported


class Raylets:
    """This process belongs to the first machine, which stays."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        cluster.add_node(**self._about)
        self._second = cluster.add_node(**self._about)

    @property
    def _about(self) -> dict[str, Any]:
        return {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "node_ip_address": "127.0.0.1"}

    def lose(self) -> None:
        """The second machine, without a word."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def come_back(self) -> None:
        self._second = self._cluster.add_node(**self._about)


@contextmanager
def raylets() -> Iterator[Raylets]:
    """Both end with this, and leave nothing."""
    folder = tempfile.mkdtemp(prefix="ray")  # short: the names of sockets are
    before = dict(os.environ)
    paths = [str(Path(__file__).parent), str(Path(__file__).parent / "gallery"), before.get("PYTHONPATH", "")]
    os.environ.update(RAY_TMPDIR=folder, PYTHONPATH=os.pathsep.join(filter(None, paths)))
    try:
        import ray  # noqa: PLC0415  (an extra)
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        cluster = Cluster()
        try:
            two = Raylets(cluster)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
            yield two
        finally:
            ray.shutdown()
            cluster.shutdown()
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)
