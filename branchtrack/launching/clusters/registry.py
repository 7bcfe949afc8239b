"""The clusters by kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from branchtrack.core.launchers.profiles import valid_kind
from branchtrack.core.records import Launch
from branchtrack.errors import ClusterUnreachable, InvalidInput
from branchtrack.launching.clusters.cluster import Cluster
from branchtrack.launching.clusters.ray import Ray
from branchtrack.launching.clusters.slurm import Slurm

_CLUSTERS: dict[str, Callable[[Sequence[str]], Cluster]] = {
    "ray": Ray.of,
    "slurm": lambda options: Slurm(),
}


def of_kind(kind: str, options: Sequence[str] = ()) -> Cluster:
    """Return the cluster of a kind, and of several the one that the ``options`` of a job name.

    Raises:
        InvalidInput: there is no such kind.
    """
    return _CLUSTERS[valid_kind(kind, "on")](options)


def of_launch(launch: Launch) -> Cluster | None:
    """Return the cluster that carries out a launch; None if this version knows none such."""
    launcher = launch.launcher or {}
    kind = launcher.get("kind")
    # Options that another version took: the other launches are looked after nevertheless.
    with suppress(InvalidInput):
        return _CLUSTERS[kind](launcher.get("options", ())) if kind in _CLUSTERS else None
    return None


def check_here(
    kind: str, name: str, options: Sequence[str] = (), *, is_asked: bool = True
) -> Cluster:
    """Return the cluster that launcher ``name`` is for, if this machine can submit to it.

    Whether the cluster answers is tried only if it ``is_asked``.

    Raises:
        InvalidInput: what that takes is missing here. ClusterUnreachable: it does not answer, and
        nothing was ordered.
    """
    cluster = of_kind(kind, options)
    if lack := cluster.missing():
        raise InvalidInput("on", name, "a launcher that can be reached from here", what=lack)
    if is_asked:
        _check_answer(cluster)
    return cluster


def _check_answer(cluster: Cluster) -> None:
    try:
        cluster.jobs(["branchtrack"])
    except ClusterUnreachable as error:
        raise ClusterUnreachable(
            error.what,
            safe="Nothing was ordered, and nothing was changed.",
            fix=f"{error.fix} Order again once it answers; --dry-run does not ask it.".strip(),
            cluster=error.cluster,
        ) from error
