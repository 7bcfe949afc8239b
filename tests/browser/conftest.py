"""A real server and a real Chromium. A machine without the browser fails these tests, loudly."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import Config, load
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from branchtrack.web.events import pump
from branchtrack.web.serving.server import Server
from tests.web import seeds
from tests.web.compiled import compiled_once
from tests.web.seeds import Line

#: What a browser notes of answers refused on purpose, and of the tests' own look at pixels.
EXPECTED = ("the server responded with a status of", "willReadFrequently")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass
class Site:
    """A served tree. ``address`` carries the token once."""

    address: str
    database: Database
    store: Store
    lines: dict[str, Line]
    config: Config
    server: Server

    @property
    def root(self) -> str:
        """The address without the token."""
        return self.address.partition("?")[0]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; a loaded machine is slow, not wrong."""
    expect.set_options(timeout=60_000)
    path = shutil.which("chromium")
    assert path, "these tests need Chromium: install the package chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, Line]]:
    """The demonstration tree, grown once, to be copied."""
    config = load(tmp_path_factory.mktemp("grown") / "home")
    database = open_database(config, create=True)
    lines = seeds.demo(database, open_store(config.store))
    database.close()
    return config, lines


@pytest.fixture(scope="session", autouse=True)
def _attentive_server() -> Iterator[None]:
    """Have servers look for news more often than people need it, and compile templates once."""
    with compiled_once(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pump, "POLL", 0.1)
        yield


@contextmanager
def served(grown: tuple[Config, dict[str, Line]], folder: Path) -> Iterator[Site]:
    """Serve a copy of the demonstration tree in ``folder``, with a token."""
    config = load(shutil.copytree(grown[0].home, folder / "home"))
    database, store = open_database(config), open_store(config.store)
    lines = seeds.moved(grown[1], database, store)
    lines["more-decay"].beat()
    app = create_app(config, database, store, token="secret")
    server = Server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    site = Site(server.address, database, store, lines, config, server)
    yield site
    site.server.close()
    thread.join(60)
    assert not thread.is_alive()
    database.close()


@pytest.fixture
def site(grown: tuple[Config, dict[str, Line]], tmp_path: Path) -> Iterator[Site]:
    """A served tree of the test's own. A module that changes nothing has one for all its tests."""
    with served(grown, tmp_path) as site:
        yield site


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """A browser without a history."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """A page that has been let in."""
    with opened_page(context, site) as page:
        yield page


@contextmanager
def opened_page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """Open a page that has been let in; what its console complains about is a failure."""
    complaints: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda said: complaints.append(said.text) if _bad(said.type) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(site.address)
    yield opened
    assert [text for text in complaints if not any(part in text for part in EXPECTED)] == []


def wait_until(page: Page, met: Callable[[], object]) -> None:
    """Wait for what a page comes to; its policy forbids the browser's own waiting for a script."""
    deadline = time.monotonic() + 60
    while not met():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def _bad(kind: str) -> bool:
    return kind in ("error", "warning")
