"""A page that is open while the run goes on."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, Route, expect

from branchtrack import control
from branchtrack.db import requests
from branchtrack.web.events import pump
from tests.browser.conftest import Site, wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def tree(page: Page, site: Site) -> Page:
    """The tree page of a run that trains, its stream open."""
    site.lines["more-decay"].beat()
    with page.expect_response(lambda answer: "/events" in answer.url):
        page.goto(f"{site.root}runs/gpt2-docs")
    expect(page.locator("#charts canvas").first).to_be_visible()
    return page


def test_a_node_committed_meanwhile_appears_and_is_announced(tree: Page, site: Site) -> None:
    rows = tree.get_by_role("region", name="Nodes").get_by_role("row")
    expect(rows).to_have_count(15)
    site.lines["more-decay"].commit("intervention", 1765, {"lr": 1e-5}, "still flat", loss=1.8)
    site.lines["more-decay"].beat()
    expect(rows).to_have_count(16)
    expect(rows.nth(1)).to_contain_text("lr 1.5e-4 → 1e-5")
    expect(tree.get_by_role("status")).to_contain_text("New intervention node changing lr")


def test_points_logged_meanwhile_reach_the_chart_and_the_pace(tree: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    tree.evaluate(
        """() => document.addEventListener("branchtrack:points",
             ({ detail }) => { window.got = [...(window.got || []), detail]; })"""
    )
    line.log("loss", list(range(1761, 1791)), [1.5] * 30)
    line.beat()
    expect(tree.locator('[data-pace="more-decay"]')).to_contain_text("step 1,790")
    heard = "Boolean(window.got) && window.got.some((one) => one['more-decay'])"
    wait_until(tree, lambda: tree.evaluate(heard))
    got = tree.evaluate("window.got")
    steps = [step for one in got for step, _ in one.get("more-decay", {}).get("loss", [])]
    assert steps == list(range(1761, 1791))


def test_a_request_is_shown_to_wait_until_the_trainer_has_answered(tree: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    tree.locator(".steer summary").click()
    tree.locator(".steer").get_by_label("lr").fill("1e-5")
    tree.get_by_role("button", name="Apply").click()
    row = tree.get_by_role("region", name="Requests").get_by_role("row").nth(1)
    expect(row).to_contain_text("waiting for the trainer")
    with site.database.transaction() as connection:
        found = requests.waiting(connection, line.segment.id)[0]
        requests.move(connection, found.id, "applied", actor="trainer", step=1765)
    expect(row).to_contain_text("applied")
    with site.database.transaction() as connection:
        requests.move(connection, found.id, "verified", actor="trainer")
    expect(row).to_contain_text("verified")


def test_a_new_branch_appears_in_timeline_and_chart(tree: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    assert line.head is not None
    made = line.grower.fork(line.head, "brand-new", lr=1e-5)
    expect(tree.locator("#branch-brand-new")).to_be_visible()
    with tree.expect_response(lambda answer: "/chart" in answer.url and answer.ok) as caught:
        made.log("loss", list(range(1601, 1651)), [1.7] * 50)
        made.commit("checkpoint", 1650, loss=1.7)
        line.grower.fork(made.head or line.head, "newer-still")
    assert "brand-new" in json.dumps(caught.value.json())


def test_a_form_half_filled_in_survives_what_happens_meanwhile(tree: Page, site: Site) -> None:
    tree.locator(".steer summary").click()
    tree.locator(".steer").get_by_label("lr").fill("7e-5")
    tree.locator(".names").get_by_role("checkbox", name="main").check()
    site.lines["more-decay"].commit("checkpoint", 1770, loss=1.8)
    site.lines["more-decay"].beat()
    rows = tree.get_by_role("region", name="Nodes").get_by_role("row")
    expect(rows).to_have_count(16)
    expect(tree.locator(".steer").get_by_label("lr")).to_have_value("7e-5")
    expect(tree.locator(".steer").get_by_label("lr")).to_be_visible()
    expect(tree.locator(".names").get_by_role("checkbox", name="main")).to_be_checked()
    expect(tree.get_by_role("button", name="Compare 1")).to_be_visible()
    expect(tree.locator("#charts canvas").first).to_be_visible()


@pytest.mark.parametrize("page_of", ["", "/branches/more-decay/steer"])
def test_a_page_whose_run_gets_another_name_says_that_it_is_gone(
    page: Page, site: Site, page_of: str
) -> None:
    site.lines["more-decay"].beat()
    with page.expect_response(lambda answer: "/events" in answer.url):
        page.goto(f"{site.root}runs/gpt2-docs{page_of}")
    expect(page.locator("#charts canvas").first).to_be_visible()
    control.label(site.database, "gpt2-docs", actor="somebody else", name="gpt2-notes")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no run 'gpt2-docs'.")
    expect(page.locator("header.top")).to_have_count(1)
    expect(page.get_by_role("link", name="gpt2-notes")).to_be_visible()
    assert "each_row" not in page.url


def test_a_live_part_that_fails_leaves_the_page_as_it_is(page: Page, site: Site) -> None:
    def refuse(route: Route) -> None:
        if "hx-request" in route.request.headers:
            route.fulfill(status=503, body="<main>It failed.</main>", content_type="text/html")
        else:
            route.continue_()

    page.route("**", refuse)
    for path in ("runs/gpt2-docs/branches/more-decay/steer", "agents", "launches", ""):
        page.goto(site.root + path)
        with page.expect_response(lambda answer: answer.status == 503):
            page.evaluate("document.getElementById('live') && htmx.trigger('#live', 'refresh')")
        page.wait_for_timeout(200)
        expect(page.locator("main")).to_have_count(1)
        expect(page.locator("body")).not_to_contain_text("It failed.")


def test_paused_updates_wait_until_they_are_wanted(tree: Page, site: Site) -> None:
    tree.get_by_role("button", name="Pause updates").click()
    site.lines["more-decay"].commit("checkpoint", 1770, loss=1.8)
    site.lines["more-decay"].beat()
    tree.wait_for_timeout(2000)
    rows = tree.get_by_role("region", name="Nodes").get_by_role("row")
    expect(rows).to_have_count(15)
    tree.get_by_role("button", name="Updates paused").click()
    expect(rows).to_have_count(16)


def test_where_all_streams_are_taken_the_page_asks_by_itself(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump.StreamSlots, "acquire", lambda self, caller: None)
    site.lines["more-decay"].beat()
    page.clock.install()
    page.goto(f"{site.root}runs/gpt2-docs")
    rows = page.get_by_role("region", name="Nodes").get_by_role("row")
    expect(rows).to_have_count(15)
    wait_until(page, lambda: page.evaluate("polling !== 0"))
    site.lines["more-decay"].commit("checkpoint", 1770, loss=1.8)
    page.clock.fast_forward("00:05")
    expect(rows).to_have_count(16)


def test_a_page_opened_before_the_first_point_gets_its_curve(page: Page, site: Site) -> None:
    from tests.web import seeds

    line = seeds.Grower(site.database, site.store, "fresh").line("main")
    line.commit("root", 0)
    line.beat()
    with page.expect_response(lambda answer: "/events" in answer.url):
        page.goto(f"{site.root}runs/fresh")
    expect(page.locator("#charts")).to_contain_text("No metric has been logged yet")
    line.log("loss", list(range(1, 21)), [2.0 - step / 20 for step in range(20)])
    line.beat()
    expect(page.locator("#charts canvas").first).to_be_visible()


def test_a_page_opened_before_the_first_loss_comes_to_show_it(page: Page, site: Site) -> None:
    from tests.web import seeds

    line = seeds.Grower(site.database, site.store, "fresh").line("main")
    line.log("stall/copy_ms", [0], [3.0])
    line.commit("root", 0)
    line.beat()
    page.clock.install()
    page.goto(f"{site.root}runs/fresh")
    expect(page.locator("#charts")).to_contain_text("No point of loss has been logged yet")
    line.log("train_loss", [1, 2], [2.0, 1.0])
    line.beat()
    expect(page.locator("#charts canvas").first).to_be_visible()
    # The other parts of the page follow seconds later.
    page.clock.fast_forward("00:03")
    expect(page.locator("#bar summary")).to_have_text("train_loss")
    expect(page.get_by_role("columnheader", name="train_loss").first).to_be_visible()
    # The stream now carries the points of the metric that is shown.
    line.log("train_loss", [3], [0.5])
    line.beat()
    expect(page.locator('[data-pace="main"]')).to_contain_text("step 3")
    assert page.evaluate("[...drawn.values()][0].data.lines[0].xs") == [1, 2, 3]
    # They are smoothed as the server does it.
    shown = page.evaluate("[...drawn.values()][0].data.lines[0].smooth")
    assert shown[-1] == pytest.approx((0.36 * 2 + 0.6 * 1 + 0.5) / 1.96, abs=1e-3)


def test_the_list_of_runs_follows_too(page: Page, site: Site) -> None:
    from tests.web import seeds

    page.clock.install()
    page.goto(site.root)
    seeds.Grower(site.database, site.store, "newcomer")
    page.clock.fast_forward("00:05")
    expect(page.get_by_role("link", name="newcomer")).to_be_visible()


def test_typing_in_the_search_narrows_the_list_and_the_address(page: Page, site: Site) -> None:
    page.goto(site.root)
    page.get_by_label("Search runs").press_sequentially("zzz")
    expect(page.locator("#list")).to_contain_text("No run has “zzz”")
    expect(page).to_have_url(f"{site.root}runs?q=zzz")


def test_what_is_being_typed_outlives_what_happens_meanwhile(page: Page, site: Site) -> None:
    line = site.lines["more-decay"]
    line.offer()
    line.beat()
    with page.expect_response(lambda answer: "/events" in answer.url):
        page.goto(f"{site.root}runs/gpt2-docs/branches/more-decay/steer")
    page.get_by_label("lr", exact=True).fill("1e-5")
    page.get_by_text("Only under conditions").first.click()
    page.get_by_label("Only if these values still hold").first.fill("lr=1e-4")
    page.get_by_label("What to do").select_option("reset")
    line.ask({"kind": "checkpoint"}, "meanwhile")
    line.beat()
    rows = page.get_by_role("region", name="Requests").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("meanwhile")
    expect(page.get_by_label("lr", exact=True)).to_have_value("1e-5")
    expect(page.get_by_label("Only if these values still hold").first).to_have_value("lr=1e-4")
    expect(page.get_by_label("What to do")).to_have_value("reset")
    page.get_by_role("button", name="Preview").first.click()
    expect(page.get_by_role("status").nth(1)).to_contain_text("It would not be carried out")
    expect(page.get_by_label("lr", exact=True)).to_have_value("1e-5")
    line.ask({"kind": "evaluate"}, "later")
    expect(rows.nth(1)).to_contain_text("later")
    expect(page.get_by_label("lr", exact=True)).to_have_value("1e-5")
