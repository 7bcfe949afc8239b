"""What stays of a checkpoint: what the tree needs, what a policy names, and what is proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchtrack.retention import choices
from branchtrack.retention.choices import Commit, Proof, Situation
from branchtrack.retention.policies import Policy, policy

PROVED = Proof("s", 0, 10, whole=True)


def commit(number: int, **facts: Any) -> Commit:
    """The node of that number in the only segment, ten steps after the one before it."""
    plain = Commit(
        seq=number,
        id=f"n{number}",
        branch="main",
        segment="s",
        parent=f"n{number - 1}" if number else None,
        step=10 * number,
        kind="checkpoint" if number else "root",
        checkpoint=f"c{number}",
    )
    return replace(plain, **facts)


def line(count: int = 6, **special: dict[str, Any]) -> list[Commit]:
    """A branch; ``n3={...}`` gives facts of one node."""
    return [commit(number, **special.get(f"n{number}", {})) for number in range(count)]


def left(
    commits: list[Commit],
    by: Policy | None = None,
    *,
    proofs: tuple[Proof, ...] = (PROVED,),
    **situation: Any,
) -> dict[str, str]:
    """What is left of each checkpoint."""
    heads = frozenset({commits[-1].id})
    where = Situation(heads=heads, proofs=proofs, **situation)
    chosen = choices.choose(commits, where, by or Policy("thin"))
    return {digest: choice.left for digest, choice in chosen.items()}


def whole(found: dict[str, str]) -> set[str]:
    return {digest for digest, kind in found.items() if kind == "whole"}


def test_by_default_nothing_is_thinned() -> None:
    assert set(left(line(), Policy()).values()) == {"whole"}


def test_thin_keeps_root_and_head_and_recipes_of_the_rest() -> None:
    found = left(line())
    assert whole(found) == {"c0", "c5"}
    assert {found[f"c{number}"] for number in range(1, 5)} == {"recipe"}


@pytest.mark.parametrize(
    "facts", [{"kind": "final"}, {"kind": "fork"}, {"pinned": True}, {"merge_parent": "n1"}]
)
def test_what_the_tree_or_a_person_needs_stays(facts: dict[str, Any]) -> None:
    assert "c3" in whole(left(line(n3=facts)))


def test_a_node_with_a_child_on_another_branch_stays() -> None:
    child = commit(9, parent="n2", branch="other", segment="t", checkpoint="c9", kind="fork")
    assert {"c2", "c9"} <= whole(left([*line(), child]))


def test_what_launches_segments_and_trainings_need_stays() -> None:
    found = left(line(), needed={"n1": "launch"}, best_steps=frozenset({20}))
    assert whole(found) == {"c0", "c1", "c2", "c5"}


def test_a_checkpoint_stays_if_any_of_its_nodes_does() -> None:
    assert "c3" in whole(left(line(n3={"pinned": True}, n4={"checkpoint": "c3"})))


def test_without_a_certificate_the_weights_stay() -> None:
    assert left(line(), proofs=())["c2"] == "weights"
    assert left(line(), proofs=(replace(PROVED, segment="t"),))["c2"] == "weights"


def test_a_trial_outside_of_the_tests_proves_its_own_stretch_alone() -> None:
    found = left(line(), proofs=(Proof("s", 20, 40, whole=False),))
    assert found == {
        "c0": "whole",
        "c1": "weights",
        # From here the trial began: nothing before it is proved to lead here.
        "c2": "whole",
        "c3": "recipe",
        "c4": "recipe",
        "c5": "whole",
    }


def test_a_segment_keeps_a_node_to_rebuild_the_others_from() -> None:
    continued = [
        commit(n, segment="t", checkpoint=f"c{n}", kind="checkpoint") for n in range(6, 10)
    ]
    found = left([*line(), *continued], proofs=(PROVED, replace(PROVED, segment="t")))
    assert found["c6"] == "whole" and found["c7"] == "recipe"


def test_one_of_several_states_of_a_step_stays() -> None:
    found = left(line(n3={"step": 20}))
    assert {"c2", "c3"} <= whole(found)


def test_policies_keep_the_last_the_best_and_multiples_of_steps() -> None:
    values = {f"n{n}": {"metrics": {"loss": abs(n - 2.1)}} for n in range(6)}
    assert whole(left(line(**values))) == {"c0", "c2", "c5"}
    assert whole(left(line(**values), policy("heads"))) == {"c0", "c5"}
    best = policy("heads", best=["loss", 2])
    assert whole(left(line(**values), best)) == {"c0", "c2", "c3", "c5"}
    assert "c4" in whole(left(line(**values), policy("heads", best=["loss:max", 3])))
    assert whole(left(line(), policy("thin", last=3))) == {"c0", "c3", "c4", "c5"}
    assert whole(left(line(), policy("thin", every=20))) == {"c0", "c2", "c4", "c5"}


def test_a_value_that_is_no_number_is_never_the_best() -> None:
    values = {"n2": {"metrics": {"loss": float("nan")}}, "n3": {"metrics": {"loss": None}}}
    assert whole(left(line(**values), policy("thin", best=["loss", 3]))) == {"c0", "c5"}


def test_old_nodes_lose_their_optimizer_but_not_what_the_tree_needs() -> None:
    by = policy("all", drop_optimizer_after=30)
    assert left(line(n1={"pinned": True}), by) == {
        "c0": "whole",
        "c1": "whole",
        "c2": "weights",
        "c3": "whole",
        "c4": "whole",
        "c5": "whole",
    }
    every = policy("thin", every=10, drop_optimizer_after=20)
    assert left(line(), every)["c1"] == "weights" and left(line(), every)["c4"] == "whole"


def test_what_was_thinned_stays_thinned_and_keeps_what_it_begins_from() -> None:
    before = line(n2={"thinned": "weights"}, n4={"thinned": "recipe"})
    assert left(before, Policy())["c2"] == "weights"
    assert left(before, Policy())["c4"] == "recipe"
    # The certificate does not hold any more: the nodes before the recipe stay whole.
    found = left(before, proofs=())
    assert found["c1"] == found["c3"] == "whole"


def test_the_anchor_of_a_node_is_the_last_whole_state_before_its_step() -> None:
    commits = line(n2={"step": 10}, n3={"thinned": "recipe"}, n4={"thinned": "recipe"})
    start = choices.anchor(commits, commits[4])
    assert start is not None and start.id == "n2"
    commits = line(n2={"step": 10, "thinned": "weights"}, n3={"thinned": "recipe"})
    start = choices.anchor(commits, commits[3])
    assert start is not None and start.id == "n0"
    assert choices.anchor(commits, commits[0]) is None
