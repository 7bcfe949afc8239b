"""The form that orders a trial from a node, its preview, and the button for a node's own change."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.trials.records import RUNNING, SAME, Trial
from branchtrack.db.orders import trials
from tests.web.conftest import Site
from tests.web.test_budgets import MOST, statements
from tests.web.tried import declare_seed


@pytest.fixture(autouse=True)
def _has_seed(own: Site) -> None:
    main = own.lines["main"]
    declare_seed(main)
    main.commit("checkpoint", 40, loss=0.5)


@pytest.fixture
def changed(own: Site) -> str:
    """The id of an intervention of ``main``, with updates left after it."""
    main = own.lines["main"]
    main.log("eval_loss", [41, 50], [0.6, 0.5])
    return main.commit("intervention", 50, {"lr": 1e-3}, "noisy", "anna", loss=0.5).id


def path_of(own: Site, node: str = "") -> str:
    return f"/runs/digits/nodes/{node or own.node('main')}/trial"


def listed(own: Site) -> list[Trial]:
    with own.database.read() as connection:
        return trials.of_run(connection, own.lines["main"].grower.run.id)


def order(own: Site, path: str, **form: Any) -> Trial:
    """A trial that is ordered by a form."""
    answer = own.client.post(path, data=form)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    (trial,) = listed(own)
    assert answer.headers["Location"] == f"/runs/digits/trials/{trial.id}"
    return trial


def test_the_form_has_a_field_for_all_that_is_asked(own: Site, changed: str) -> None:
    page = own.get(path_of(own, changed))
    assert page.field("Updates of each training")["value"] == "50"
    assert page.field("Pairs at most")["value"] == "8"
    metrics = [option.text for option in page.field("Metric").all("option")]
    assert metrics == ["eval_loss", "loss"]
    assert "checked" not in page.field("The change of this node").attributes
    own.get(page.by_role("link", "Cancel")[0]["href"])


def test_a_node_without_a_change_offers_none(own: Site) -> None:
    assert "The change of this node" not in own.get(path_of(own)).text


def test_the_address_fills_the_form_in(own: Site, changed: str) -> None:
    query = "?intervention=1&steps=20&repeats=6&metric=loss&margin=0.5%25&reason=why"
    page = own.get(path_of(own, changed) + query)
    assert "checked" in page.field("The change of this node").attributes
    assert page.field("Updates of each training")["value"] == "20"
    assert page.field("Margin")["value"] == "0.5%"
    chosen = [each for each in page.field("Metric").all("option") if "selected" in each.attributes]
    assert [each.text for each in chosen] == ["loss"]
    own.get(path_of(own, changed) + "?nope=1", 422)


def test_an_order_queues_its_first_pairs_and_leads_to_its_page(own: Site) -> None:
    path = path_of(own)
    form = {"settings": "lr=x0.5,x2\n", "steps": "20", "repeats": "4", "reason": "curious"}
    trial = order(own, path, **form)
    assert [arm.label for arm in trial.spec.arms] == ["lr=x0.5", "lr=x2"]
    assert (trial.state, trial.spec.steps, trial.reason) == (RUNNING, 20, "curious")
    # The first look is after three pairs: each has a control and two changes.
    assert [len(pair.sides) for pair in trial.pairs] == [3, 3, 3]
    page = own.get(f"/runs/digits/trials/{trial.id}")
    assert page.heading("lr=x2 pending")


def test_a_preview_says_what_it_costs_and_orders_nothing(own: Site) -> None:
    page = own.post(
        f"{path_of(own)}/preview", 200, settings="lr=x0.5", steps="20", repeats="4", metric="loss"
    )
    (said,) = page.by_role("status", "Preview")
    assert "8 trainings, 160 updates at most" in said.text
    assert "judged by loss after 3, 4 pairs" in said.text and "lr=x0.5" in said.text
    assert page.field("Settings").text == "lr=x0.5"
    assert listed(own) == []


def test_a_factor_beyond_every_number_is_refused_in_words(own: Site) -> None:
    for path in (path_of(own), f"{path_of(own)}/preview"):
        page = own.post(path, 422, settings="lr=x1e999999999", steps="10")
        assert "lr: 'x1e999999999' makes too large a number" in page.one("main").text


@pytest.mark.parametrize(
    ("form", "label"),
    [
        ({"settings": "lr"}, "Settings"),
        ({"settings": ""}, "Settings"),
        ({"settings": "lr=x0.5", "steps": "many"}, "Updates of each training"),
        ({"settings": "lr=x0.5", "steps": "1000"}, "Updates of each training"),
        ({"settings": "lr=x0.5", "steps": "10", "repeats": "1000"}, "Pairs at most"),
        ({"settings": "lr=x0.5", "steps": "10", "metric": "nope"}, "Metric"),
        ({"settings": "lr=x0.5", "steps": "10", "margin": "-1"}, "Margin"),
    ],
)
def test_what_cannot_be_accepted_is_said_at_its_field(
    own: Site, form: dict[str, str], label: str
) -> None:
    for path in (path_of(own), f"{path_of(own)}/preview"):
        page = own.post(path, 422, **form)
        assert page.field(label)["aria-invalid"] == "true"
        (problem,) = page.by_role("alert")
        assert "cannot be accepted" in problem.text
        assert page.field("Settings").text == form["settings"]
    assert listed(own) == []


def test_a_setting_that_does_not_exist_and_a_field_that_is_none_are_refused(own: Site) -> None:
    page = own.post(path_of(own), 422, settings="no_such=1", steps="10")
    assert "no_such" in page.by_role("alert")[0].text
    page = own.post(path_of(own), 422, settings="lr=x0.5", setps="10")
    assert "setps" in page.by_role("alert")[0].text
    page = own.post(path_of(own), 422, settings="lr=x0.5", at="ffffffff")
    assert "ffffffff" in page.by_role("alert")[0].text


def test_nothing_at_all_can_be_tried(own: Site) -> None:
    trial = order(own, path_of(own), same="1", steps="20", repeats="3")
    assert trial.kind == SAME


def test_one_click_tries_the_change_of_a_node(own: Site, changed: str) -> None:
    page = own.get(f"/nodes/{changed}")
    (button,) = [each for each in page.by_role("button") if each.text == "Try it"]
    form = next(each for each in button.and_above() if each.tag == "form")
    fields = {each["name"]: each["value"] for each in form.all("input")}
    trial = order(own, form["action"], **fields)
    assert (trial.subject, trial.spec.metric) == (changed, "eval_loss")
    assert (trial.spec.steps, trial.spec.repeats) == (50, 8)
    page = own.get(f"/nodes/{changed}")
    assert "Whether this change helps is being tried" in page.one(class_="banner").text
    assert [each for each in page.by_role("button") if each.text == "Try it"] == []


def test_a_node_is_tried_under_its_own_run_alone(own: Site) -> None:
    own.get(f"/runs/other/nodes/{own.node('main')}/trial", 404)


def test_the_form_is_made_in_few_statements(own: Site, changed: str) -> None:
    with statements(own) as seen:
        own.get(path_of(own, changed))
    assert 0 < len(seen) <= MOST, seen


def test_a_form_that_is_sent_twice_orders_one_trial(own: Site, changed: str) -> None:
    path = path_of(own, changed)
    form = {"intervention": "1", "key": own.get(path).one("input", name="key")["value"]}
    order(own, path, **form)
    order(own, path, **form)
