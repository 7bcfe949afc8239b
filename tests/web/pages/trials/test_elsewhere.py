"""Verdicts where people look: on the node, in the tree, its log and the audit."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.records import Node
from branchtrack.core.trials.records import RUNNING, Arm, Trial
from branchtrack.db import metrics, runs
from branchtrack.db.orders import trials
from tests.web import dom
from tests.web.conftest import Site
from tests.web.test_budgets import MOST, statements
from tests.web.tried import TRAINS, make_trial

BETTER = [(2.0, 1.99), (2.1, 2.088), (1.9, 1.891), (2.05, 2.04)]
RUN = "/runs/digits"


@pytest.fixture
def changed(own: Site) -> Node:
    """An intervention of ``main``."""
    return own.lines["main"].commit("intervention", 50, {"lr": 1e-3}, "noisy", "anna", loss=0.5)


def tried(own: Site, node: Node, pairs: Any = BETTER, **facts: Any) -> Trial:
    return make_trial(own.lines["main"].grower, node, pairs, **facts)


def own_change(own: Site, node: Node, **facts: Any) -> Trial:
    """A trial of the change that a node made."""
    arms = [Arm("lr 5e-3 → 1e-3")]
    return tried(own, node, arms=arms, subject=node.id, is_grown=False, **facts)


def test_a_node_says_at_its_top_whether_its_change_helped(own: Site, changed: Node) -> None:
    trial = own_change(own, changed)
    page = own.get(f"/nodes/{changed.id}")
    (banner,) = page.all(class_="banner")
    assert banner.text == (
        "This change was tried: helps −0.0102 (−0.0131 to −0.0074) 4 pairs by loss"
    )
    assert "good" in banner.classes
    assert banner.one("a")["href"] == f"{RUN}/trials/{trial.id}"
    assert [button for button in page.by_role("button") if button.text == "Try it"] == []


def test_a_node_lists_what_was_tried_from_it(own: Site, changed: Node) -> None:
    tried(own, changed, group="one")
    page = own.get(f"/nodes/{changed.id}")
    (row,) = page.table("Trials")
    assert (row["change"], row["verdict"], row["pairs"]) == ("lr=x0.9", "helps", "4 of 4")
    # The trainings of a trial are neither children of it nor offered for a comparison.
    assert page.heading("Children 0")
    assert "trial-lr-x0.9-control-1" not in page.text


def test_a_node_without_a_change_is_tried_by_a_form_alone(own: Site) -> None:
    page = own.get(f"/nodes/{own.node('main')}")
    assert [b for b in page.by_role("button") if b.text == "Try it"] == []
    own.get(page.by_role("link", "Try a change")[0]["href"])
    assert "Nothing was tried from here" in page.text


def test_a_node_with_trials_stays_in_its_budget(own: Site, changed: Node) -> None:
    for number in range(3):
        tried(own, changed, group=f"g{number}", is_grown=False)
    own_change(own, changed, group="own")
    with statements(own) as seen:
        own.get(f"/nodes/{changed.id}")
    assert len(seen) <= MOST, seen


def choice_of(own: Site, query: str = "") -> dom.Element:
    return own.get(RUN + query).one(id="choice")


def test_the_branches_of_a_trial_are_folded_into_its_verdict(own: Site, changed: Node) -> None:
    trial = tried(own, changed)
    page = own.get(RUN)
    assert [lane.one("input")["value"] for lane in page.one(class_="names").all("li")] == [
        "digits/main"
    ]
    (verdict,) = page.one(id="choice").by_role("link", "lr=x0.9: helps, −0.010, 4 pairs")
    assert verdict["href"] == f"{RUN}/trials/{trial.id}"
    assert "s-held" in verdict.classes
    assert "trial-lr-x0.9-control-1" not in page.one(id="rows").text
    own.get(verdict["href"])


def test_they_are_unfolded_as_other_groups_are(own: Site, changed: Node) -> None:
    tried(own, changed)
    (link,) = choice_of(own).by_role("link", "Show the 8 branches of trial-lr-x0.9")
    lanes = own.get(link["href"]).one(class_="names").all("li")
    assert len(lanes) == 9
    everything = own.get(f"{RUN}?show=all")
    assert len(everything.one(class_="names").all("li")) == 9
    assert everything.one(id="choice").by_role("link", "helps") == []


def test_a_chart_has_the_branches_of_the_page(own: Site, changed: Node) -> None:
    tried(own, changed)
    drawn = own.client.get(f"{RUN}/chart").get_json()
    assert "control" not in str(drawn)


def test_many_trials_are_cut_and_the_list_has_them_all(own: Site, changed: Node) -> None:
    for number in range(8):
        tried(own, changed, BETTER[:1], group=f"g{number}", repeats=1)
    choice = choice_of(own)
    assert len(choice.by_role("link", "lr=x0.9:")) == 6
    assert choice.by_role("link", "2 more trials")[0]["href"] == f"{RUN}/trials"


def test_branches_of_a_trial_that_wait_are_told_by_the_trial(own: Site, changed: Node) -> None:
    trial = tried(own, changed, [(2.0, TRAINS)], state=RUNNING, repeats=8)
    own.lines["main"].grower.order(changed, "alone", "to see")
    page = own.get(RUN)
    assert ["alone is waiting" in banner.text for banner in page.all(class_="banner")] == [True]
    assert "pending, 0 of at most 8 pairs" in page.one(id="choice").text
    assert trial.state == RUNNING


def test_the_log_has_the_verdict_beside_the_change(own: Site, changed: Node) -> None:
    trial = own_change(own, changed)
    row = own.get(RUN).one("tr", id=f"n{changed.id}")
    (verdict,) = row.by_role("link", "helps −0.010")
    assert verdict["href"] == f"{RUN}/trials/{trial.id}"


def test_a_verdict_that_comes_in_is_sent_to_a_page_that_is_live(own: Site, changed: Node) -> None:
    trial = own_change(own, changed, state=RUNNING)
    tried(own, changed, group="other")
    live = own.get(RUN).one(id="live")
    with own.database.read() as connection:
        now = trials.get(connection, trial.id)
    with own.database.transaction() as connection:
        from branchtrack.core.trials.outcomes import judged

        trials.save(
            connection,
            now,
            pairs=now.pairs,
            verdicts=judged(now, now.pairs),
            state="settled",
            actor="trial",
        )
    headers = {"HX-Request": "true", "HX-Target": "div#live"}
    sent = own.client.get(live["hx-get"], headers=headers).get_data(as_text=True)
    assert "helps −0.010" in sent


def test_a_tree_with_trials_stays_in_its_budget(own: Site, changed: Node) -> None:
    for number in range(3):
        tried(own, changed, group=f"g{number}", is_grown=False)
    with statements(own) as seen:
        own.get(RUN)
    assert len(seen) <= MOST, seen


def test_a_tree_without_trials_asks_for_none(own: Site) -> None:
    with statements(own) as seen:
        own.get(RUN)
    assert [text for text in seen if "FROM trials" in text and "EXISTS" not in text] == []


def test_the_audit_reads_as_sentences(own: Site, changed: Node) -> None:
    trial = own_change(own, changed)
    page = own.get(f"{RUN}/audit?kind=trial")
    assert [row["facts"] for row in page.table("Events")] == [
        "lr 5e-3 → 1e-3: helps, −0.0102 (−0.0131 to −0.0074), 4 pairs by loss",
        f"tries lr 5e-3 → 1e-3 by loss after 100 updates, from {changed.id[:8]}",
    ]
    assert page.by_role("link", trial.id[:8])[0]["href"] == f"{RUN}/trials/{trial.id}"


def test_trainings_of_a_trial_are_neither_the_best_branch_nor_among_the_states(
    own: Site, changed: Node
) -> None:
    def facts() -> tuple[str, bool]:
        page = own.get(RUN)
        return page.all("dl")[0].text.partition("branches")[0], "branches finished" in page.text

    before = facts()
    side = tried(own, changed).pairs[0].sides[1]
    assert side is not None
    with own.lines["main"].grower.database.transaction() as connection:
        branch = runs.get_branch(connection, side.branch_id)
        lowest = ("loss", changed.step + 50, 1e-6, 1e9)
        metrics.append(connection, branch.segment_id or "", [lowest])
    assert facts() == before
