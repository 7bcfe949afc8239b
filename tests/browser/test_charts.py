"""Charts under the pointer, in the dark, and on a narrow page."""

from __future__ import annotations

import base64
import math
import re
import sys
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
    over = page.locator("#charts .u-over").first
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
        lower = page.locator("#charts .u-over").first.bounding_box()
        assert upper is not None and lower is not None
        assert upper["x"] == pytest.approx(lower["x"], abs=1.5)
        assert upper["width"] == pytest.approx(lower["width"], abs=2)


def test_axes_are_legible_in_the_dark_and_follow_the_system(page: Page, site: Site) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{site.root}runs/gpt2-docs")
        expect(page.locator("#charts canvas").first).to_be_visible()
        assert coloured(page, "charts", "--b0") > 100
        assert coloured(page, "charts", "--line") > 300
        assert coloured(page, "charts", "--muted") > 20
    page.emulate_media(color_scheme="light")
    wait_until(page, lambda: coloured(page, "charts", "--line") > 300)


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


def test_charts_are_drawn_where_room_was_left_for_them(page: Page, site: Site) -> None:
    page.route(re.compile(r"/chart(\?|$)"), lambda route: route.fulfill(json={"charts": []}))
    page.goto(f"{site.root}runs/gpt2-docs")
    before = page.locator("#charts").bounding_box()
    assert before is not None and page.locator("#charts canvas").count() == 0
    page.unroute_all(behavior="ignoreErrors")
    page.goto(f"{site.root}runs/gpt2-docs")
    expect(page.locator("#charts canvas")).to_have_count(4)
    after = page.locator("#charts").bounding_box()
    assert after is not None
    assert before["height"] == pytest.approx(after["height"], abs=6)


def test_all_charts_of_a_wall_follow_the_pointer_in_one(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    page.locator("#charts .u-over").first.hover(position={"x": 300, "y": 60})
    expect(page.locator("#charts .tip:visible")).to_have_count(1)
    cursors = page.locator("#charts .u-cursor-x")
    expect(cursors).to_have_count(4)
    for nth in range(4):
        assert "translate(300px" in str(cursors.nth(nth).get_attribute("style"))


def test_a_stretch_of_a_wall_is_zoomed_into_and_back_without_a_page_load(
    page: Page, site: Site
) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    page.evaluate("window.same = true")
    over = page.locator("#charts .u-over").nth(1)
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
    page.mouse.up()
    page.wait_for_url("**from=*")
    expect(page.locator("svg.timeline")).to_have_attribute("data-low", re.compile("^49|^50"))
    expect(page.locator("#charts canvas")).to_have_count(4)
    ranges = page.evaluate("[...drawn.values()].map(({ data }) => data.range.slice(0, 2))")
    assert len({tuple(each) for each in ranges}) == 1 and ranges[0][0] == pytest.approx(500, abs=6)
    page.get_by_role("link", name="All steps").click()
    for turn, low in ((None, "0"), ("go_back", "^49"), ("go_back", "0"), ("go_forward", "^49")):
        if turn is not None:
            getattr(page, turn)()
        expect(page.locator("svg.timeline")).to_have_attribute("data-low", re.compile(low))
        wait_until(page, lambda: page.evaluate("going === null"))
    expect(page.locator("#charts canvas")).to_have_count(4)
    assert page.evaluate("window.same")


def test_what_is_refused_is_said_on_a_page_of_its_own(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    page.get_by_label("from step").fill("900")
    page.get_by_label("to step").fill("100")
    page.get_by_role("button", name="Zoom").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("to: 100")
    expect(page.locator("header.top")).to_have_count(1)
    page.go_back()
    expect(page.locator("#charts canvas")).to_have_count(4)


def test_points_that_a_logarithm_has_no_place_for_are_left_out(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs?metric=lr&y=log")
    expect(page.locator("#charts canvas")).to_have_count(1)
    shown = page.evaluate(
        """() => {
          const points = { "more-decay": { lr: [[1990, 0], [1991, -1], [1992, 1e-4]] } };
          document.dispatchEvent(new CustomEvent("branchtrack:points", { detail: points }));
          const { data } = [...drawn.values()][0];
          const line = data.lines.find(({ name }) => name === "more-decay");
          return [data.range[2], line.low.slice(-3)];
        }"""
    )
    assert shown[0] > 0 and shown[1] == [None, None, 1e-4]


def test_a_point_between_gaps_is_a_dot_and_what_is_not_drawn_is_said(
    page: Page, site: Site
) -> None:
    values = [math.nan, 2.0, math.nan, 0.0]
    site.lines["more-decay"].log("alone", range(1700, 1704), values)
    page.goto(f"{site.root}runs/gpt2-docs?metric=alone&y=log&smooth=0")
    expect(page.locator("#charts canvas")).to_have_count(1)
    opaque = page.evaluate(
        """() => {
          const { data: { lines: [{ xs, smooth }] }, plot } = [...drawn.values()][0];
          const left = plot.valToPos(xs[1], "x", true), top = plot.valToPos(smooth[1], "y", true);
          return plot.ctx.getImageData(left, top, 1, 1).data[3];
        }"""
    )
    assert opaque == 255
    expect(page.get_by_role("img", name="values ≤ 0 are not drawn")).to_be_visible()


@pytest.mark.parametrize("log", [False, True])
def test_values_at_the_ends_of_what_floats_hold_are_inside_of_the_plot(
    page: Page, site: Site, log: bool
) -> None:
    name = f"edge{int(log)}"
    values = [5e-324, sys.float_info.max, 1e300] if log else [1e308, -1e308, 5e-324]
    site.lines["more-decay"].log(name, range(1700, 1703), values)
    page.goto(f"{site.root}runs/gpt2-docs?metric={name}&smooth=0&y={'log' if log else 'linear'}")
    expect(page.locator("#charts canvas")).to_have_count(1)
    heights, top, tall, labels = page.evaluate(
        """() => {
          const { data, plot } = [...drawn.values()][0], { bbox } = plot;
          const heights = data.lines[0].low.map((y) => plot.valToPos(y, "y", true));
          return [heights, bbox.top, bbox.height, upright(data, data.height).map(label)];
        }"""
    )
    assert all(top - 1 <= height <= top + tall + 1 for height in heights)
    assert len(set(heights)) == 3 and len(labels) > 2 and "∞" not in "".join(labels)


def test_a_chart_without_any_line_on_its_axis_says_so(page: Page, site: Site) -> None:
    site.lines["more-decay"].log("only_here", range(1700, 1704), [1.0, 2.0, 3.0, 4.0])
    page.goto(f"{site.root}runs/gpt2-docs?metric=loss&x=only_here&branch=main")
    expect(page.locator("#charts")).to_contain_text("Not drawn, without only_here: main")
    page.get_by_role("link", name="PNG").click()
    page.goto(f"{site.root}compare?a=gpt2-docs/main&b=gpt2-docs/more-decay&x=only_here")
    expect(page.locator("#chart")).to_contain_text("Not drawn, without only_here: shared, main")


def test_metrics_are_chosen_without_a_page_load(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    page.evaluate("window.same = true")
    page.locator("#bar summary").click()
    page.locator("#bar").get_by_label("grad_norm").uncheck()
    page.locator("#bar").get_by_role("button", name="Show").click()
    expect(page.locator("#charts canvas")).to_have_count(3)
    assert "metric=loss&metric=eval_loss&metric=lr" in page.url and page.evaluate("window.same")


def test_the_name_of_a_metric_stands_above_the_numbers_on_one_line(page: Page, site: Site) -> None:
    site.lines["more-decay"].log("a_metric_with_a_long_name/" * 5, [1700, 1701], [0.0, 1.0])
    name = "a_metric_with_a_long_name/" * 5
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site.root}runs/gpt2-docs?metric={name}&metric=grad_norm")
        expect(page.locator("#charts canvas")).to_have_count(2)
        for nth in range(2):
            shown = page.locator("#charts .y-name").nth(nth).bounding_box()
            plot = page.locator("#charts .u-over").nth(nth).bounding_box()
            assert shown is not None and plot is not None
            # Half a number is above the plot.
            assert shown["height"] == 16 and shown["y"] + 16 <= plot["y"] - 6
            assert shown["x"] + shown["width"] <= width
        assert page.locator("#charts .y-name").first.get_attribute("title") == name
    page.set_viewport_size({"width": 1280, "height": 900})


def test_every_vertical_axis_has_two_numbers(page: Page, site: Site) -> None:
    page.goto(f"{site.root}runs/gpt2-docs")
    expect(page.locator("#charts canvas")).to_have_count(4)
    counts = page.evaluate(
        """() => [...drawn].map(([element, { data }]) =>
          [[2.1, 5.9], [3.9, 4.4], data.range.slice(2)].map(([low, high]) =>
            upright({ ...data, range: [0, 1, low, high] }, element.clientHeight).length))"""
    )
    assert all(count >= 2 for each in counts for count in each)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chart_is_saved_as_a_whole_picture_in_the_pages_colours(
    page: Page, site: Site, theme: str
) -> None:
    page.emulate_media(color_scheme=theme)
    page.goto(f"{site.root}runs/gpt2-docs")
    expect(page.locator("#charts canvas")).to_have_count(4)
    page.locator("#charts .chart").nth(1).hover()
    with page.expect_download() as saved:
        page.locator("#charts .save").nth(1).get_by_role("link", name="PNG").click()
    assert saved.value.suggested_filename == "eval_loss.png"
    encoded = base64.b64encode(saved.value.path().read_bytes()).decode()
    # The file is read with the page's own canvas: its corners, and whether there is ink where the
    # name and the numbers of the horizontal axis are.
    corner, tops, bottoms, size = page.evaluate(
        """async (text) => {
          const picture = new Image(), canvas = document.createElement("canvas");
          picture.src = `data:image/png;base64,${text}`;
          await picture.decode();
          [canvas.width, canvas.height] = [picture.width, picture.height];
          const context = canvas.getContext("2d");
          context.drawImage(picture, 0, 0);
          const pixels = (...box) => [...context.getImageData(...box).data];
          const kinds = (list) => new Set(list.filter((_, nth) => nth % 4 === 0)).size;
          const { width, height } = picture;
          return [pixels(0, 0, 1, 1), kinds(pixels(24, 8, 120, 32)),
            kinds(pixels(200, height - 44, width - 400, 40)), [width, height]];
        }""",
        encoded,
    )
    assert corner == ([255, 255, 255, 255] if theme == "light" else [13, 17, 23, 255])
    assert tops > 4 and bottoms > 4 and size[0] == 2000
    page.emulate_media(color_scheme="light")


def test_without_scripts_no_room_is_left_for_what_they_draw(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.address)
    page.goto(f"{site.root}runs/gpt2-docs")
    wall, picture = page.locator("#charts"), page.locator("#charts img")
    expect(picture).to_be_visible()
    tall = [each.bounding_box() for each in (wall, picture)]
    assert tall[0] is not None and tall[1] is not None
    assert tall[0]["height"] == pytest.approx(tall[1]["height"], abs=12)
    context.close()


def test_on_a_narrow_page_each_node_shows_all_that_matters(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{site.root}runs/gpt2-docs")
    rows = page.locator("table.nodes tbody tr")
    assert rows.count() > 8
    edges = rows.evaluate_all(
        """(rows) => rows.map((row) => ["td.grow", ".branch", "[data-label=step] a", "a.id",
            "a[aria-label^=Resume]", "input[name=pick]", "svg.lines"].map((part) => {
          const { left, right, height } = row.querySelector(part).getBoundingClientRect();
          return left >= 0 && right <= 378 && height > 0;
        }))"""
    )
    assert all(all(each) for each in edges)
    assert rows.first.locator("[data-label=loss]").is_visible()
    page.set_viewport_size({"width": 1280, "height": 900})


def test_on_a_narrow_page_the_name_of_each_lane_is_whole(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(f"{site.root}runs/gpt2-docs")
    names = page.locator("#lanes .names .branch")
    cut = names.evaluate_all("(all) => all.filter((one) => one.scrollWidth > one.clientWidth)")
    assert names.count() == 4 and cut == []
    page.set_viewport_size({"width": 1280, "height": 900})
