"""The command `watch`: the rules in force, and changes of them."""

from __future__ import annotations

from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


def test_the_rules_in_force_are_shown(call: Call, forked: Forked) -> None:
    shown = call("watch", "demo", "--json").json
    assert shown["changed"] == [] and shown["rules"]["stall"] == 900
    assert shown["rules"]["metrics"] == ["loss", "eval_loss"]
    printed = call("watch", "demo").out
    assert "spike" in printed and "1.0 GB" in printed


def test_rules_are_changed_kept_and_set_back(call: Call, forked: Forked) -> None:
    options = ["--target", "eval_loss<2.5", "--spike", "off", "--stall", "600", "--disk", "20GB"]
    changed = call("watch", "demo", *options, "--reason", "a long run", "--json").json
    assert changed["changed"] == ["disk", "spike", "stall", "targets"]
    again = call("watch", "demo", "--metric", "val/loss", "--json").json
    assert again["rules"]["metrics"] == ["val/loss"] and again["rules"]["spike"] is None
    assert call("watch", "demo", "--target", "off", "--json").json["rules"]["targets"] == []
    assert call("watch", "demo", "--reset", "--json").json["changed"] == []
    assert call("audit", "demo", "--verify").code == 0


def test_what_is_no_rule_is_refused_and_changes_nothing(call: Call, forked: Forked) -> None:
    for option, value in (("--spike", "high"), ("--target", "eval_loss"), ("--window", "3")):
        called = call("watch", "demo", "--stall", "60", option, value)
        assert called.code == 2 and "Nothing was changed" in called.err
    assert call("watch", "demo", "--json").json["changed"] == []
    assert call("watch", "nobody").code == 2
