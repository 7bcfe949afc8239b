"""Charts under the pointer, in the dark, and on a narrow page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from branchtrack.config import Config
from tests.browser.conftest import Site, opened_page, served, wait_until
from tests.browser.test_walk import coloured
from tests.web.seeds import Line

pytestmark = pytest.mark.browser
COMPARE = "compare?a=gpt2-docs/main&b=gpt2-docs/cooler"


@pytest.fixture(scope="module")
def site(
    grown: tuple[Config, dict[str, Line]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One served tree for all: looking at charts changes nothing."""
    with served(grown, tmp_path_factory.mktemp("charts")) as site:
        yield site


@pytest.fixture(scope="module")
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """One browser for all, which keeps what it has loaded."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """A page of its own, without the dragging and hovering of others."""
    with opened_page(context, site) as page:
        yield page
        page.close()


def test_the_pointer_tells_the_values_of_both_branches(page: Page, site: Site) -> None:
    page.goto(site.root + COMPARE)
    page.locator("#chart .u-over").hover(position={"x": 400, "y": 100})
    tip = page.locator("#chart .tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("main 2.")
    expect(tip).to_contain_text("cooler 2.")
    expect(tip).to_contain_text("step ")
    # The other chart's cursor stands at the same place.
    other = page.locator("#difference .u-cursor-x")
    expect(other).not_to_have_class("u-off")
    assert "translate(400px" in str(other.get_attribute("style"))


def test_the_pointer_is_followed_in_the_timeline(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    over = page.locator("#chart .u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": box["width"] / 2, "y": 50})
    guide = page.locator(".timeline .cursor")
    share = float(str(guide.get_attribute("x1")).rstrip("%"))
    assert share == pytest.approx(50, abs=1)


def test_dragging_over_a_stretch_makes_it_the_pages_range(page: Page, site: Site) -> None:
    page.goto(site.root + COMPARE)
    box = page.locator("#chart .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_url("**from=*")
    low, high = page.get_by_label("from step"), page.get_by_label("to step")
    assert int(low.input_value()) == pytest.approx(500, abs=5)
    assert int(high.input_value()) == pytest.approx(1000, abs=5)


def test_the_chart_lies_exactly_under_the_timeline(page: Page, site: Site) -> None:
    for width in (1280, 900, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site.root}runs/gpt2-docs")
        upper = page.locator("svg.timeline").bounding_box()
        lower = page.locator("#chart .u-over").bounding_box()
        assert upper is not None and lower is not None
        assert upper["x"] == pytest.approx(lower["x"], abs=1.5)
        assert upper["width"] == pytest.approx(lower["width"], abs=2)


def test_axes_are_legible_in_the_dark_and_follow_the_system(page: Page, site: Site) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{site.root}runs/gpt2-docs")
        expect(page.locator("#chart canvas")).to_be_visible()
        assert coloured(page, "chart", "--b0") > 100
        assert coloured(page, "chart", "--line") > 500
        assert coloured(page, "chart", "--muted") > 20
    page.emulate_media(color_scheme="light")
    wait_until(page, lambda: coloured(page, "chart", "--line") > 500)


def test_marks_of_the_timeline_lead_to_their_nodes(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    node = site.lines["hot"].head
    assert node is not None
    page.locator(f'[data-href="/nodes/{node.id}"]').click()
    expect(page).to_have_url(f"{site.root}nodes/{node.id}")


def test_a_drawn_chart_keeps_its_label_for_those_who_do_not_see_it(page: Page, site: Site) -> None:
    page.goto(site.root + COMPARE)
    images = page.get_by_role("img")
    expect(images).to_have_count(2)
    label = images.first.get_attribute("aria-label")
    assert label is not None and label.startswith("loss over training: main 2.")


def test_drawing_takes_the_servers_drawings_place_without_a_jump(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    chart = page.locator("#chart")
    box, canvas = chart.bounding_box(), page.locator("#chart canvas").bounding_box()
    assert box is not None and canvas is not None
    assert box["height"] == pytest.approx(281, abs=2)
    assert canvas["height"] == pytest.approx(box["height"], abs=3)
