"""The walk through the pages: with JavaScript, without it, and by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from branchtrack.db import nodes, tokens
from branchtrack.db.orders import launches
from tests.browser.conftest import Site

pytestmark = pytest.mark.browser

#: How many pixels of a canvas have about the colour that a CSS variable stands for.
COUNT = """([canvas, name]) => {
  const probe = document.body.appendChild(document.createElement("span"));
  probe.style.color = `var(${name})`;
  const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
  probe.remove();
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let found = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const near = [0, 1, 2].every((part) => Math.abs(pixels[i + part] - wanted[part]) < 12);
    if (near && pixels[i + 3] > 200) found += 1;
  }
  return found;
}"""


def coloured(page: Page, chart: str, name: str) -> int:
    canvas = page.locator(f"#{chart} canvas").first.element_handle()
    return int(page.evaluate(COUNT, [canvas, name]))


@pytest.fixture
def plain(browser: Browser, site: Site) -> Iterator[Page]:
    """A page of a browser without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(site.address)
    yield opened
    context.close()


def test_two_ticked_branches_are_compared_in_charts(page: Page, site: Site) -> None:
    page.goto(site.root)
    page.get_by_role("link", name="gpt2-docs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("gpt2-docs")
    names = page.locator(".names")
    names.get_by_role("checkbox", name="main").check()
    names.get_by_role("checkbox", name="cooler").check()
    page.get_by_role("button", name="Compare 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("main and cooler")
    expect(page.locator("canvas")).to_have_count(2)
    for name in ("--trunk", "--b0", "--b2"):
        assert coloured(page, "chart", name) > 100, name
    assert coloured(page, "chart", "--b1") == 0


def test_two_ticked_nodes_are_compared_as_nodes(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    for branch in ("hot", "cooler"):
        node = site.lines[branch].head
        assert node is not None
        page.get_by_label(f"Compare node {node.id[:8]} of {branch}").check()
    expect(page.locator(".names input:checked")).to_have_count(0)
    page.get_by_role("button", name="Compare 2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nodes")


def test_a_refused_form_is_mended_and_starts_a_branch(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    page.get_by_role("link", name="Resume").first.click()
    page.get_by_label("Name of the new branch").fill("main")
    page.get_by_label("lr", exact=True).fill("-1")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be accepted")
    expect(page.get_by_label("lr", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("lr", exact=True)).to_have_value("-1")
    page.get_by_label("lr", exact=True).fill("1e-4")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#error-name")).to_contain_text("exists already")
    page.get_by_label("Name of the new branch").fill("coolest")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page).to_have_url(f"{site.root}runs/gpt2-docs#branch-coolest")
    expect(page.locator(".banner")).to_contain_text("coolest is waiting for a worker")
    expect(page.locator("#branch-coolest")).to_be_visible()
    with site.database.read() as connection:
        assert launches.unfinished(connection)[-1].overrides == {"lr": 1e-4}


def test_half_the_rate_is_three_clicks_from_the_runs(plain: Page, site: Site) -> None:
    plain.goto(site.root)
    plain.get_by_role("link", name="gpt2-docs").click()
    plain.get_by_role("link", name="Resume").first.click()
    plain.get_by_role("form", name="Start at once").get_by_role("button", name="x0.5").click()
    expect(plain.locator(".banner").last).to_contain_text("is waiting for a worker")
    with site.database.read() as connection:
        launch = launches.unfinished(connection)[-1]
        node = nodes.get(connection, launch.node_id)
    assert launch.overrides == {"lr": node.settings["lr"] / 2}


def test_the_same_walk_without_javascript(plain: Page, site: Site) -> None:
    plain.goto(site.root)
    plain.get_by_label("Search runs").fill("gpt2")
    plain.get_by_role("button", name="Search").click()
    plain.get_by_role("link", name="gpt2-docs").click()
    picture = plain.locator("#charts img")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.complete && image.naturalHeight") > 500
    plain.locator(".names").get_by_role("checkbox", name="main").check()
    plain.locator(".names").get_by_role("checkbox", name="hot").check()
    plain.get_by_role("button", name="Compare").click()
    expect(plain.get_by_role("heading", level=1)).to_have_text("main and hot")
    expect(plain.locator("svg.plot")).to_have_count(2)
    expect(plain.locator("svg.plot").first).to_be_visible()
    plain.get_by_role("link", name="Continue main").click()
    plain.get_by_label("lr", exact=True).fill("abc")
    plain.get_by_role("button", name="Start", exact=True).click()
    expect(plain.get_by_role("alert")).to_be_visible()
    plain.get_by_label("lr", exact=True).fill("2e-4")
    plain.get_by_label("Name of the new branch").fill("plain")
    plain.get_by_role("button", name="Start", exact=True).click()
    expect(plain).to_have_url(f"{site.root}runs/gpt2-docs#branch-plain")
    plain.get_by_role("button", name="dark").click()
    expect(plain.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_running_branch_is_steered_without_javascript(plain: Page, site: Site) -> None:
    site.lines["more-decay"].beat()
    plain.goto(f"{site.root}runs/gpt2-docs")
    plain.locator(".steer summary").click()
    plain.locator(".steer").get_by_label("lr").fill("1e-5")
    plain.locator(".steer").get_by_label("Why").fill("too hot")
    plain.get_by_role("button", name="Apply").click()
    row = plain.get_by_role("region", name="Requests").get_by_role("row").nth(1)
    expect(row).to_contain_text("set lr = 1e-5")
    expect(row).to_contain_text("waiting for the trainer")


def test_the_way_from_the_runs_to_a_resume_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.root)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    press_until(page, "gpt2-docs")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("gpt2-docs")
    # Keys are heard once the page's script has run.
    page.wait_for_load_state()
    # To the first node; without that key the choices of branches and charts lie between.
    page.keyboard.press("j")
    press_until(page, "Resume")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("as a new branch")
    while page.evaluate("document.activeElement.id") != "set-lr":
        page.keyboard.press("Tab")
    page.keyboard.type("1e-4")
    page.keyboard.press("Enter")
    expect(page.locator(".banner")).to_contain_text("is waiting for a worker")


def test_a_button_that_a_viewer_cannot_press_looks_so(page: Page, site: Site) -> None:
    with site.database.transaction() as connection:
        _, secret = tokens.create(connection, "vera", "viewer", created_by="test")
    page.goto(f"{site.root}runs/gpt2-docs?token={secret}")
    colours = []
    for name in ("Pause", "Pause and free"):
        button = page.get_by_role("button", name=name, exact=True)
        expect(button).to_be_disabled()
        colours.append(button.evaluate("button => getComputedStyle(button).backgroundColor"))
    assert colours[0] == colours[1]


def press_until(page: Page, text: str) -> None:
    """Tab until what has the focus reads so."""
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{text!r} was not reached")


def test_single_keys_go_through_the_rows(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    rows = page.get_by_role("region", name="Nodes").get_by_role("row")
    for key in "jjk":
        page.keyboard.press(key)
    expect(rows.nth(1).locator("a.id")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search nodes")).to_be_focused()
    page.keyboard.type("jk?")
    expect(page.get_by_label("Search nodes")).to_have_value("jk?")
    page.get_by_label("Search nodes").blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/nodes/"))
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", level=1)).to_have_text("Help")
