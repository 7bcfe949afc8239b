"""Launchers: which kinds and names there are, and what a launch keeps of one."""

from __future__ import annotations

import pytest

from branchtrack.core.launchers import profiles
from branchtrack.core.launchers.profiles import Profile
from branchtrack.errors import InvalidInput


def test_a_launch_keeps_name_kind_and_options() -> None:
    launcher = profiles.launcher("gpu", "slurm", ["-p", "main"])
    assert launcher == {"name": "gpu", "kind": "slurm", "options": ["-pmain"]}


def test_a_profile_is_read_with_its_cluster() -> None:
    assert Profile("1" * 16, "gpu", "slurm", [], "ann", 1.0).title == "gpu (Slurm)"
    assert profiles.title("another") == "another"


@pytest.mark.parametrize("name", ["slurm", "ray", "local", "a b", ""])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        profiles.valid_profile_name(name)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    assert profiles.valid_kind("slurm") == "slurm"
    with pytest.raises(InvalidInput) as caught:
        profiles.valid_kind("pbs")
    assert caught.value.allowed == "ray, slurm"
