"""The clusters by kind."""

from __future__ import annotations

from branchtrack.core.launchers.profiles import valid_kind
from branchtrack.core.records import Launch
from branchtrack.errors import InvalidInput
from branchtrack.launching.clusters.cluster import Cluster
from branchtrack.launching.clusters.slurm import Slurm

_CLUSTERS: dict[str, type[Cluster]] = {"slurm": Slurm}


def of_kind(kind: str) -> Cluster:
    """Return the cluster of a kind.

    Raises:
        InvalidInput: there is no such kind.
    """
    return _CLUSTERS[valid_kind(kind, "on")]()


def of_launch(launch: Launch) -> Cluster | None:
    """Return the cluster that carries out a launch; None if this version knows no such kind."""
    kind = (launch.launcher or {}).get("kind")
    return _CLUSTERS[kind]() if kind in _CLUSTERS else None


def check_here(kind: str, name: str) -> Cluster:
    """Return the cluster of a kind that launcher ``name`` is for, if this machine can submit to it.

    Raises:
        InvalidInput: what that takes is missing here. ClusterUnreachable: it does not answer.
    """
    cluster = of_kind(kind)
    if lack := cluster.missing():
        raise InvalidInput("on", name, "a launcher that can be reached from here", what=lack)
    cluster.jobs(["branchtrack"])
    return cluster
