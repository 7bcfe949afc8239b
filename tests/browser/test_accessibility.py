"""Every page: nothing for axe to find in either theme, no sideways scrolling, targets to hit."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from branchtrack.db import launches, segments
from tests.browser.conftest import Site
from tests.web import seeds

pytestmark = pytest.mark.browser

#: Controls under 24 px that have another one nearer than 24 px (WCAG 2.2, 2.5.8).
SMALL = """() => [...document.querySelectorAll("a, button, summary, input, select")]
  .filter((one) => one.type !== "hidden")
  .filter((one) => one.checkVisibility() && !one.closest("p, dd, .note, .banner, .skip, .who"))
  .map((one) => {
    const box = (one.closest("label") || one).getBoundingClientRect();
    return [one.outerHTML.slice(0, 120), Math.round(box.width), Math.round(box.height)];
  })
  .filter(([, , height]) => height < 24)"""


def pages(site: Site) -> dict[str, str]:
    """A page of every kind, in good and in bad times."""
    cooler, live = site.lines["cooler"].head, site.lines["more-decay"]
    assert cooler is not None and live.head is not None
    live.beat()
    live.offer()
    live.ask({"kind": "set", "values": {"lr": 1e-4}}, "let us see")
    grower = seeds.Grower(site.database, site.store, "troubled")
    main = grower.line("main", 30)
    root = main.commit("root", 0)
    main.end("failed", "RuntimeError: no")
    grower.order(root, "waits", lr=1e-4)
    line, launch = grower.order(root, "broken", lr=1e-2)
    with site.database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "worker", error="train.py is gone.")
        segments.end(connection, line.segment.id, "failed", actor="worker", error="gone")
    return {
        "runs": "",
        "no such runs": "runs?q=zzz",
        "tree": "runs/gpt2-docs",
        "tree in trouble": "runs/troubled",
        "node": f"nodes/{cooler.id}",
        "compare": "compare?a=gpt2-docs/main&b=gpt2-docs/hot",
        "resume": f"nodes/{cooler.id}/resume",
        "steer": "runs/gpt2-docs/branches/more-decay/steer",
        "audit": "runs/gpt2-docs/audit?verify=1",
        "stop": "runs/gpt2-docs/branches/more-decay/stop",
        "error": "runs/nope",
    }


def settle(page: Page) -> None:
    """Open what is folded and let charts be drawn."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(100)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(page: Page, site: Site, theme: str) -> None:
    page.context.add_cookies([{"name": "theme", "value": theme, "url": site.root}])
    found = {}
    for name, path in pages(site).items():
        site.lines["more-decay"].beat()
        page.goto(site.root + path)
        if name == "resume":
            page.get_by_label("lr").fill("abc")
            page.get_by_role("button", name="Continue").click()
        if name == "steer":
            page.get_by_label("lr", exact=True).fill("abc")
            page.get_by_role("button", name="Apply").first.click()
        settle(page)
        results = Axe().run(page)
        if results.violations_count:
            found[name] = results.generate_report()
    assert found == {}, "\n".join(found.values())


@pytest.mark.parametrize("width", [390, 320])
def test_no_page_scrolls_sideways_on_a_narrow_screen(page: Page, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name, path in pages(site).items():
        site.lines["more-decay"].beat()
        page.goto(site.root + path)
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_targets_are_at_least_24_pixels_high(page: Page, site: Site) -> None:
    for name, path in pages(site).items():
        site.lines["more-decay"].beat()
        page.goto(site.root + path)
        settle(page)
        assert page.evaluate(SMALL) == [], name


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_what_the_maths_used_is_seen_without_scrolling(page: Page, site: Site, width: int) -> None:
    node = site.lines["more-decay"].head
    assert node is not None
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site.root}nodes/{node.id}")
    region = page.get_by_role("region", name="Settings in force")
    assert region.evaluate("one => one.scrollWidth - one.clientWidth") <= 0
    assert region.get_by_role("columnheader", name="used at step 1,601").is_visible()
