"""The event stream of a live page: hidden tabs, several tabs, a server that is started again."""

from __future__ import annotations

import threading

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from branchtrack.web.app import create_app
from branchtrack.web.events import pump
from branchtrack.web.serving.server import Server
from tests.browser.conftest import Site, wait_until

pytestmark = pytest.mark.browser
RUN = "runs/gpt2-docs"
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def open_run(page: Page, site: Site) -> None:
    site.lines["more-decay"].beat()
    page.goto(site.root + RUN)
    expect(page.locator("#charts canvas").first).to_be_visible()


def reach(site: Site, step: int) -> None:
    line = site.lines["more-decay"]
    line.log("loss", range(line.step + 1, step + 1), [1.5] * (step - line.step))
    line.beat()


def expect_step(page: Page, step: int) -> None:
    expect(page.locator('[data-pace="more-decay"]')).to_contain_text(f"step {step:,}")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of streams that are open, at the end of the list."""
    counts: list[int] = [0]
    acquire, release = pump.StreamSlots.acquire, pump.StreamSlots.release

    def more(self: pump.StreamSlots, caller: str) -> pump.StreamSlot | None:
        counts.append(counts[-1] + 1)
        return acquire(self, caller)

    def fewer(self: pump.StreamSlots, caller: str) -> None:
        counts.append(counts[-1] - 1)
        release(self, caller)

    monkeypatch.setattr(pump.StreamSlots, "acquire", more)
    monkeypatch.setattr(pump.StreamSlots, "release", fewer)
    return counts


def test_a_hidden_tab_has_no_stream_and_misses_nothing(
    page: Page, site: Site, taken: list[int]
) -> None:
    open_run(page, site)
    wait_until(page, lambda: taken[-1] == 1)
    page.evaluate(HIDE, True)
    reach(site, 1790)
    # The server notices when it next writes.
    wait_until(page, lambda: taken[-1] == 0)
    page.evaluate(HIDE, False)
    expect_step(page, 1790)

    def drawn() -> list[int]:
        steps: list[int] = page.evaluate(
            "[...drawn.values()][0].data.lines.find(({ name }) => name === 'more-decay').xs"
        )
        return steps

    # The step may come with the refreshed part of the page, before the stream has the points.
    wait_until(page, lambda: drawn()[-1] == 1790)
    assert drawn() == sorted(set(drawn()))


def test_tabs_that_show_the_same_share_a_stream(
    context: BrowserContext, page: Page, site: Site, taken: list[int]
) -> None:
    open_run(page, site)
    wait_until(page, lambda: taken[-1] == 1)
    other = context.new_page()
    open_run(other, site)
    wait_until(other, lambda: other.evaluate("channel !== null"))
    reach(site, 1780)
    for each in (page, other):
        expect_step(each, 1780)
    assert max(taken) == 1
    # The tab that has the stream leaves: the other one takes over from where it is.
    page.goto(site.root)
    reach(site, 1795)
    expect_step(other, 1795)
    other.close()


def test_a_server_that_is_started_again_is_found_again(
    context: BrowserContext, page: Page, site: Site
) -> None:
    tab = context.new_page()
    open_run(tab, site)
    port = int(site.root.rstrip("/").rpartition(":")[2])
    body = tab.locator("body")
    expect(body).not_to_have_class("unheard")
    site.server.close()
    expect(body).to_have_class("unheard", timeout=30_000)
    reach(site, 1785)
    app = create_app(site.config, site.database, site.store, token="secret")
    site.server = Server(app, "127.0.0.1", port)
    threading.Thread(target=site.server.run, daemon=True).start()
    expect_step(tab, 1785)
    expect(body).not_to_have_class("unheard", timeout=30_000)
    tab.close()


def test_a_page_whose_stream_is_refused_polls_and_is_not_called_unconnected(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump.StreamSlots, "acquire", lambda *_: None)
    with page.expect_response(lambda answer: "/events" in answer.url) as refused:
        open_run(page, site)
    assert not refused.value.ok
    reach(site, 1800)
    expect(page.locator('[data-pace="more-decay"]')).to_contain_text("step 1,800", timeout=30_000)
    expect(page.locator("body")).not_to_have_class("unheard")
