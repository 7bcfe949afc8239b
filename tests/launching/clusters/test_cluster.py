"""Every kind of cluster follows the protocol."""

from __future__ import annotations

from branchtrack.launching.clusters.cluster import Cluster
from branchtrack.launching.clusters.ray import Ray
from branchtrack.launching.clusters.slurm import Slurm
from tests.launching.clusters.fake_cluster import FakeCluster


def test_what_is_called_a_cluster_can_do_all_of_it() -> None:
    names = {name for name in vars(Cluster) if not name.startswith("_")}
    facts = {"kind", "where", "takes_jobs_along"}
    assert names == {*facts, *"missing command submit jobs fate ask_to_end cancel".split()}
    for cluster in (Slurm(), Ray(""), FakeCluster()):
        assert all(hasattr(cluster, name) for name in names), cluster
