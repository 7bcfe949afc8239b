"""The trials of a run, and the review of its changes."""

from __future__ import annotations

import pytest

from branchtrack.core.trials.records import RUNNING, SETTLED, Arm, Trial
from branchtrack.db.orders import trials
from branchtrack.web.pages.trials import listing
from tests.web.conftest import Site
from tests.web.test_budgets import MOST, statements
from tests.web.tried import declare_seed, make_trial

WORSE = [(2.0, 2.3), (2.1, 2.41), (1.9, 2.2), (2.05, 2.35)]
PATH = "/runs/digits/trials"


@pytest.fixture(autouse=True)
def _has_seed(own: Site) -> None:
    declare_seed(own.lines["main"])


def change(own: Site, step: int, **changes: float) -> str:
    """The id of an intervention of ``main``."""
    return own.lines["main"].commit("intervention", step, dict(changes), loss=0.5).id


def tried(own: Site, node: str = "", state: str = SETTLED, group: str = "t") -> Trial:
    """A trial from the head, of a node's own change if there is one."""
    main = own.lines["main"]
    assert main.head is not None
    arms = [Arm("lr 5e-3 → 1e-3")]
    facts = {"subject": node} if node else {}
    return make_trial(
        main.grower, main.head, WORSE, arms=arms, state=state, group=group, is_grown=False, **facts
    )


def count(own: Site) -> int:
    with own.database.read() as connection:
        return len(trials.of_run(connection, own.lines["main"].grower.run.id))


def test_trials_are_listed_newest_first_with_their_verdicts(own: Site) -> None:
    tried(own)
    newest = tried(own, state=RUNNING, group="u")
    page = own.get(PATH)
    rows = page.table("Trials")
    assert [(row["verdict"], row["pairs"]) for row in rows] == [
        ("pending", "4 of 4"),
        ("hurts", "4 of 4"),
    ]
    assert rows[1]["effect"].startswith("+0.303 (")
    link = page.by_role("region", "Trials")[0].by_role("link", "lr 5e-3")[0]
    assert link["href"] == f"{PATH}/{newest.id}"


def test_many_trials_come_by_pages(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    made = [tried(own, group=f"g{number}") for number in range(3)]
    page = own.get(PATH)
    assert page.one("h1").text == "Trials of digits 3" and len(page.table("Trials")) == 2
    (older,) = page.by_role("link", "Older trials")
    assert older["href"] == f"{PATH}?before={made[1].id}"
    last = own.get(older["href"])
    assert len(last.table("Trials")) == 1 and last.by_role("link", "Newest")
    own.get(f"{PATH}?before=nothing", 422)
    past = own.get(f"{PATH}?before={made[0].id}")
    assert past.by_role("link", "Newest") and "Nothing was tried" not in past.text


def test_a_run_without_trials_says_how_to_make_one(own: Site) -> None:
    page = own.get(PATH)
    assert "branchtrack trial digits@STEP" in page.text
    assert "No intervention and no fork of this run changed a setting" in page.text


def test_the_run_leads_to_its_trials_once_there_are_any(own: Site) -> None:
    assert own.get("/runs/digits").by_role("link", "Trials") == []
    tried(own)
    (link,) = own.get("/runs/digits").by_role("link", "Trials")
    assert link["href"] == PATH


def test_a_review_has_every_change_with_its_verdict_or_that_it_was_not_tried(own: Site) -> None:
    first, second = change(own, 50, lr=1e-3), change(own, 60, weight_decay=0.1)
    trial = tried(own, first)
    page = own.get(PATH)
    rows = page.table("Review")
    assert [(row["node"], row["verdict"]) for row in rows] == [
        (first[:8], "hurts"),
        (second[:8], "not tried"),
    ]
    assert "0 helped, 1 hurt, 0 without effect, 0 inconclusive, 1 not tried." in page.text
    review = page.by_role("region", "Review")[0]
    assert review.by_role("link", "hurts")[0]["href"] == f"{PATH}/{trial.id}"
    own.get(review.by_role("link", f"Try the change of {second[:8]}")[0]["href"])


def test_a_preview_of_a_review_says_what_it_would_train_within_its_budget(own: Site) -> None:
    change(own, 40, lr=1e-3)
    change(own, 45, weight_decay=0.1)
    page = own.post(f"{PATH}/preview", 200, steps="10", repeats="4", budget="100")
    assert page.by_role("status")[0].text == (
        "1 trial of 80 updates at most. Nothing has been started."
    )
    rows = page.table("Review")
    assert rows[0]["verdict"] == "would train 80 updates"
    assert "the budget" in rows[1]["what changed"]
    assert page.field("Budget in updates")["value"] == "100"
    assert count(own) == 0


def test_a_review_orders_the_trials_that_fit(own: Site) -> None:
    change(own, 40, lr=1e-3)
    change(own, 45, weight_decay=0.1)
    answer = own.client.post(PATH, data={"steps": "10", "repeats": "4"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PATH}#review")
    assert count(own) == 2
    assert [row["verdict"] for row in own.get(PATH).table("Review")] == ["pending", "pending"]


def test_what_a_review_cannot_try_is_said_beside_the_change(own: Site) -> None:
    change(own, 40, lr=1e-3)
    change(own, 45, weight_decay=0.1)
    page = own.post(PATH, 200, steps="10", repeats="4", budget="100")
    assert count(own) == 1
    assert "the budget" in page.table("Review")[1]["what changed"]
    assert "1 trial" not in page.by_role("status")


def test_a_bad_number_shows_the_form_again(own: Site) -> None:
    change(own, 40, lr=1e-3)
    for path in (PATH, f"{PATH}/preview"):
        page = own.post(path, 422, steps="ten", budget="7")
        assert page.field("Updates of each")["value"] == "ten"
        assert page.field("Updates of each")["aria-invalid"] == "true"
        assert page.by_role("alert")
    own.post(PATH, 422, bugdet="7")
    assert count(own) == 0


def test_the_page_is_made_in_few_statements(own: Site) -> None:
    for number in range(5):
        tried(own, change(own, 50 + number, lr=1e-3 / (number + 1)), group=f"g{number}")
    with statements(own) as seen:
        own.get(PATH)
    assert 0 < len(seen) <= MOST, seen
