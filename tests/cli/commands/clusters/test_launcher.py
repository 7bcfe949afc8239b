"""Profiles of launchers at the shell."""

from __future__ import annotations

import os

import pytest

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_a_profile_is_added_listed_shown_and_removed(call: Call, forked: Forked) -> None:
    assert "has a name here" in call("launcher", "list").out
    added = call("launcher", "add", "gpu", "--kind", "slurm", "--json", "--", "-p", "main", "-H")
    assert added.json["options"] == ["-pmain", "-H"] and added.json["kind"] == "slurm"
    assert [each["name"] for each in call("launcher", "list", "--json").json] == ["gpu"]
    assert "-pmain -H" in call("launcher", "list").out
    assert "gpu" in call("launcher", "show", "gpu").out
    assert call("launcher", "add", "gpu", "--kind", "slurm").code == 2
    for deed in ("show", "remove"):
        assert "The launchers of this home: gpu." in call("launcher", deed, "nope").err
    assert call("launcher", "remove", "gpu").code == 0
    absent = call("launcher", "show", "gpu")
    assert absent.code == 2 and "This home has no launchers." in absent.err


def test_what_is_no_profile_is_refused(call: Call, forked: Forked) -> None:
    for arguments in (
        ("slurm", "--kind", "slurm"),
        ("gpu", "--kind", "pbs"),
        ("gpu", "--kind", "slurm", "--", "train.sh"),
        ("gpu", "--kind", "slurm", "--", "--wrap=ls"),
    ):
        assert call("launcher", "add", *arguments).code == 2, arguments
    assert call("launcher", "list", "--json").json == []


def test_who_does_not_own_the_home_adds_none(
    call: Call, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    refused = call("launcher", "add", "gpu", "--kind", "slurm")
    assert refused.code == 1 and "may not do this" in refused.err
