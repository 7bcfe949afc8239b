"""A live branch is steered from its cockpit: what is typed stays, answers appear by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from branchtrack.db import requests, segments
from branchtrack.db.tables import segments as rows
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


@pytest.fixture
def cockpit(page: Page, site: Site) -> Iterator[Page]:
    """The cockpit of the branch that trains."""
    site.lines["more-decay"].beat()
    page.goto(f"{site.root}runs/gpt2-docs/branches/more-decay/steer")
    yield page


def test_what_is_typed_keeps_its_place_while_the_training_goes_on(
    cockpit: Page, site: Site
) -> None:
    field = cockpit.get_by_label("lr", exact=True)
    field.fill("7e-4")
    line = site.lines["more-decay"]
    line.log("loss", list(range(1761, 1791)), [1.234] * 30)
    line.beat()
    expect(cockpit.locator(".watch .facts")).to_contain_text("1.234")
    expect(field).to_have_value("7e-4")
    expect(field).to_be_focused()
    expect(cockpit.locator("#charts canvas").first).to_be_visible()


def test_a_field_shows_what_its_setting_became_unless_it_is_typed_into(
    cockpit: Page, site: Site
) -> None:
    line = site.lines["more-decay"]
    typed = cockpit.get_by_label("weight_decay", exact=True)
    typed.fill("0.3")
    line.commit("intervention", 1765, {"lr": 2e-4})
    line.beat()
    expect(cockpit.get_by_label("lr", exact=True)).to_have_value("2e-4")
    expect(typed).to_have_value("0.3")
    cockpit.get_by_role("button", name="Apply", exact=True).first.click()
    expect(cockpit.locator(".answer")).to_contain_text("set weight_decay = 0.3")


@pytest.mark.parametrize("width", [1280, 390])
def test_pause_stays_in_sight_however_far_one_scrolls(cockpit: Page, width: int) -> None:
    cockpit.set_viewport_size({"width": width, "height": 720})
    cockpit.evaluate("scrollTo(0, 400)")
    expect(cockpit.get_by_role("button", name="Pause", exact=True)).to_be_in_viewport()


def test_half_the_rate_is_one_click_and_its_answer_is_beside_it(cockpit: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    cockpit.get_by_role("button", name="lr x0.5").click()
    answer = cockpit.locator(".answer")
    expect(answer).to_contain_text("waiting for the trainer")
    with site.database.transaction() as connection:
        request = requests.waiting(connection, line.segment.id)[-1]
        requests.move(connection, request.id, "applied", actor="trainer", step=1765)
        requests.move(connection, request.id, "verified", actor="trainer")
    expect(answer).to_contain_text("verified")
    expect(answer).to_contain_text("at step 1,765")


def test_pausing_and_continuing_are_one_click_each(cockpit: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    cockpit.get_by_role("button", name="Pause", exact=True).click()
    expect(cockpit.locator(".answer")).to_contain_text("pause")
    with site.database.transaction() as connection:
        segments.hold(connection, line.segment.id, paused=True, step=1760, actor="trainer")
    cockpit.get_by_role("button", name="Continue", exact=True).click()
    expect(cockpit.locator(".answer")).to_contain_text("unpause")
    with site.database.transaction() as connection:
        connection.execute(rows.update().values(status="running"))


def test_enter_in_a_field_applies_what_was_typed(cockpit: Page, site: Site) -> None:
    field = cockpit.get_by_label("weight_decay", exact=True)
    field.fill("0.3")
    field.press("Enter")
    expect(cockpit.locator(".answer")).to_contain_text("weight_decay = 0.3")
