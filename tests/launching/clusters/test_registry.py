"""Clusters are found by kind; what this machine cannot reach is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from branchtrack.core.launchers.profiles import KINDS
from branchtrack.core.records import Launch
from branchtrack.errors import ClusterUnreachable, InvalidInput
from branchtrack.launching.clusters import registry
from branchtrack.launching.clusters.slurm import Slurm
from tests.launching.clusters.fake_cluster import FakeCluster


def test_every_kind_has_a_cluster() -> None:
    assert [registry.of_kind(kind).kind for kind in KINDS] == list(KINDS)
    with pytest.raises(InvalidInput):
        registry.of_kind("pbs")


def test_a_launch_of_an_unknown_kind_has_none(on_slurm: Callable[..., Launch]) -> None:
    launch = on_slurm("a")
    assert isinstance(registry.of_launch(launch), Slurm)
    for launcher in ({"kind": "ray", "options": ["--of=another version"]}, {"kind": "pbs"}):
        assert registry.of_launch(replace(launch, launcher=launcher)) is None


def test_a_machine_without_its_commands_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InvalidInput) as caught:
        registry.check_here("slurm", "gpu")
    assert caught.value.field == "on" and "This machine has no sbatch" in caught.value.what


def test_a_cluster_that_does_not_answer_is_told_of(fake: FakeCluster) -> None:
    assert registry.check_here("slurm", "gpu") is fake
    fake.is_up = False
    with pytest.raises(ClusterUnreachable) as caught:
        registry.check_here("slurm", "gpu")
    # Nothing has been submitted, and nobody tries again.
    assert "Nothing was ordered" in str(caught.value) and "Order again" in caught.value.fix
    assert registry.check_here("slurm", "gpu", is_asked=False) is fake
