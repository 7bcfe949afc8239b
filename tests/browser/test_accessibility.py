"""Every page: nothing for axe to find in either theme, no sideways scrolling, targets to hit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from branchtrack import control
from branchtrack.config import Config
from branchtrack.core.trials.records import Arm
from branchtrack.db import segments
from branchtrack.db.orders import launches
from tests.browser.conftest import Site, opened_page, served
from tests.web import seeds
from tests.web.seeds import Line
from tests.web.tried import NAN, TRAINS, make_trial

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

#: Tables of which a part is out of sight, by the name of what they scroll in.
CUT_OFF = """() => [...document.querySelectorAll("table")]
  .map((table) => table.closest("[role=region]"))
  .filter((region) => region && region.scrollWidth > region.clientWidth + 1)
  .map((region) => region.getAttribute("aria-label"))"""


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
    other = grower.line("given-up", 30)
    other.end("failed")
    control.delete(site.database, "troubled/given-up", actor="ann", reason="worse")
    seeds.alerts(site.lines["hot"])
    helper = seeds.agents(live)
    seeds.Grower(site.database, site.store, "live").line("main").draw(100)
    done = seeds.Grower(site.database, site.store, "resnet50-imagenet").line("main")
    done.log("eval_loss", [1], [-1.234e-5])
    done.end("finished")
    return {
        **tried_pages(site),
        "runs": "",
        "no such runs": "runs?q=zzz",
        "runs by state": "runs?by=status&sort=-updated&columns=status,lr,best(eval_loss)",
        "bad query": "runs?q=lr<",
        "runs to delete": f"runs/delete?run={grower.run.id}",
        "tree": "runs/gpt2-docs",
        "tree in trouble": "runs/troubled",
        "alerts": "runs/gpt2-docs/alerts",
        "agents": "agents",
        "agent": f"agents/{helper}",
        "no alerts": "runs/troubled/alerts",
        "node": f"nodes/{cooler.id}",
        "compare": "compare?a=gpt2-docs/main&b=gpt2-docs/hot",
        "compare several": "compare?a=gpt2-docs/main&b=gpt2-docs/hot&with=gpt2-docs/cooler",
        "compare nodes": f"compare/nodes?a={cooler.id}&b={live.head.id}",
        "weights": "compare/weights?a=gpt2-docs/main&b=gpt2-docs/hot",
        "resume": f"nodes/{cooler.id}/resume",
        "steer": "runs/gpt2-docs/branches/more-decay/steer",
        "audit": "runs/troubled/audit?verify=1",
        "long audit": "runs/gpt2-docs/audit?verify=1",
        "stop": "runs/gpt2-docs/branches/more-decay/stop",
        "storage": "storage",
        "all alerts": "alerts",
        "tokens": "tokens",
        "me": "me",
        "help": "help",
        "manage": "runs/gpt2-docs/manage",
        "trash": "trash",
        "data": "runs/live/branches/main/data",
        "error": "runs/nope",
    }


def tried_pages(site: Site) -> dict[str, str]:
    """The pages of a run with trials: one that is over, one that trains, one of a node's change."""
    line = seeds.Grower(site.database, site.store, "tried").line("main", 600)
    line.commit("root", 0)
    line.log("loss", [1, 50], [3.0, 2.0])
    node = line.commit("intervention", 50, {"lr": 1e-3}, "noisy", "anna", loss=2.0)
    arms = [Arm("lr=x0.5", {"lr": "x0.5"}), Arm("lr=x3", {"lr": "x3"})]
    over = make_trial(
        line.grower, node, [(2.0, 1.9, 2.3), (2.1, 2.01, 2.4), (1.9, 1.81, NAN)], arms=arms
    )
    going = make_trial(line.grower, node, [(2.0, 1.9), (2.0, TRAINS)], state="running", group="a")
    own = {"arms": [Arm("lr 5e-3 → 1e-3")], "subject": node.id, "group": "b", "is_grown": False}
    make_trial(line.grower, node, [(2.0, 2.3), (2.1, 2.41), (1.9, 2.2)], **own)
    return {
        "trials": "runs/tried/trials",
        "trial": f"runs/tried/trials/{over.id}",
        "trial at work": f"runs/tried/trials/{going.id}",
        "trial form": f"runs/tried/nodes/{node.id}/trial?intervention=1",
        "node tried": f"nodes/{node.id}",
        "tree tried": "runs/tried",
    }


#: Pages that have nothing in the dark that another of their kind does not have.
ALIKE = {"no such runs", "long audit"}


def settle(page: Page) -> None:
    """Open what is folded and let charts be drawn."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(100)


def resize(page: Page, width: int) -> None:
    """Give a page another width, and let it be laid out and charts be drawn anew."""
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


@dataclass
class Findings:
    """What is wrong, by page: violations by theme, overflows by width, targets, cut-off tables."""

    violations: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    overflows: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    small_targets: dict[str, list[Any]] = field(default_factory=dict)
    cut_off: dict[str, list[str]] = field(default_factory=dict)

    def judge(self, page: Page, name: str, theme: str) -> None:
        """Have axe look at a page, after its form was refused if it has one."""
        if name == "resume":
            page.get_by_label("lr", exact=True).fill("abc")
            page.get_by_role("button", name="Start", exact=True).click()
        if name == "steer":
            page.get_by_label("lr", exact=True).fill("abc")
            page.get_by_role("button", name="Apply").first.click()
        if name == "trial form":
            page.get_by_label("Margin").fill("-1")
            page.get_by_role("button", name="Start", exact=True).click()
        if name in ("resume", "steer", "trial form"):
            settle(page)
        results = Axe().run(page)
        if results.violations_count:
            self.violations[theme][name] = results.generate_report()

    def measure(self, page: Page, name: str, width: int) -> None:
        """See whether a page is wider than the screen."""
        resize(page, width)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            self.overflows[width].append(name)


@pytest.fixture(scope="module")
def site(
    grown: tuple[Config, dict[str, Line]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One served tree, which is only looked at."""
    with served(grown, tmp_path_factory.mktemp("accessible")) as site:
        yield site


@pytest.fixture(scope="module")
def findings(browser: Browser, site: Site) -> Findings:
    """What is found on all pages: each is opened wide and light, and narrow and dark."""
    findings, addresses = Findings(), pages(site)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    with opened_page(context, site) as page:
        for name, path in addresses.items():
            site.lines["more-decay"].beat()
            page.goto(site.root + path)
            settle(page)
            findings.small_targets[name] = page.evaluate(SMALL)
            findings.judge(page, name, "light")
        context.add_cookies([{"name": "theme", "value": "dark", "url": site.root}])
        for name, path in addresses.items():
            site.lines["more-decay"].beat()
            page.set_viewport_size({"width": 320, "height": 800})
            page.goto(site.root + path)
            settle(page)
            findings.measure(page, name, 320)
            findings.measure(page, name, 390)
            findings.cut_off[name] = page.evaluate(CUT_OFF)
            if name not in ALIKE:
                resize(page, 1280)
                findings.judge(page, name, "dark")
    context.close()
    return findings


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(findings: Findings, theme: str) -> None:
    violations = findings.violations[theme]
    assert violations == {}, "\n".join(violations.values())


@pytest.mark.parametrize("width", [390, 320])
def test_no_page_scrolls_sideways_on_a_narrow_screen(findings: Findings, width: int) -> None:
    assert findings.overflows[width] == []


def test_no_table_is_cut_off_on_a_narrow_screen(findings: Findings) -> None:
    assert set(findings.cut_off) > {"tree", "audit"}
    assert {name: tables for name, tables in findings.cut_off.items() if tables} == {}


def test_targets_are_at_least_24_pixels_high(findings: Findings) -> None:
    assert set(findings.small_targets) > {"tree", "node"}
    assert {name: small for name, small in findings.small_targets.items() if small} == {}


def test_what_the_maths_used_is_seen_without_scrolling(page: Page, site: Site) -> None:
    node = site.lines["more-decay"].head
    assert node is not None
    for width in (390, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site.root}nodes/{node.id}")
        region = page.get_by_role("region", name="Settings in force")
        assert region.evaluate("one => one.scrollWidth - one.clientWidth") <= 0, width
        assert region.get_by_role("columnheader", name="used at step 1,601").is_visible(), width
