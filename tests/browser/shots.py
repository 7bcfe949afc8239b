"""Pictures of every page: light, dark and narrow. ``python -m tests.browser.shots FOLDER``."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from branchtrack import config, control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.db import segments
from branchtrack.db.engine import Database
from branchtrack.db.orders import launches
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from branchtrack.web.serving.server import Server
from tests.browser.conftest import ARGUMENTS
from tests.web import seeds
from tests.web.tried import make_trial

VIEWS = {
    "light": {"theme": "light", "width": 1280},
    "dark": {"theme": "dark", "width": 1280},
    "narrow": {"theme": "light", "width": 390},
    "narrow-dark": {"theme": "dark", "width": 390},
}


def take(browser: Browser, address: str, pages: dict[str, str], folder: Path) -> Iterator[Path]:
    """One picture for each page and view; yields their paths."""
    for view, how in VIEWS.items():
        context = browser.new_context(viewport={"width": int(how["width"]), "height": 900})
        root = address.partition("?")[0]
        context.add_cookies([{"name": "theme", "value": str(how["theme"]), "url": root}])
        page = context.new_page()
        page.goto(address)
        for name, path in pages.items():
            page.goto(root.rstrip("/") + path)
            if name == "resume":
                page.get_by_role("button", name="Start", exact=True).click()
            if name == "resume-preview":
                page.get_by_role("button", name="Preview").click()
            if name == "steer-wrong":
                page.get_by_label("lr", exact=True).fill("-1")
                page.get_by_role("button", name="Apply").first.click()
            page.wait_for_timeout(300)
            target = folder / f"{name}-{view}.png"
            page.screenshot(path=target, full_page=True)
            yield target
        context.close()


def main(folder: Path) -> None:
    """Grow trees in a home of its own, serve them, and take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    home = config.load(Path(tempfile.mkdtemp()) / "home")
    database, store = open_database(home, create=True), open_store(home.store)
    note = "This server starts no processes; `branchtrack worker` does."
    app = create_app(home, database, store, token="shots", worker_note=note)
    server = Server(app, "127.0.0.1", 0)
    threading.Thread(target=server.run, daemon=True).start()
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for shot in take(browser, server.address, {"empty": "/"}, folder):
            print(shot)
        pages, beat = grow(database, store)
        for shot in take(browser, server.address, pages, folder):
            print(shot)
            beat()
        browser.close()
    server.close()


def addresses(heads: dict[str, str], changed: str, helper: str) -> dict[str, str]:
    """Where the pages are; ``heads`` are the newest nodes of branches, ``helper`` an agent."""
    return {
        "runs": "/",
        "tree": "/runs/gpt2-docs",
        "tree-troubled": "/runs/troubled",
        "tree-new": "/runs/just-started",
        "node": f"/nodes/{heads['more-decay']}",
        "node-differs": f"/nodes/{heads['hot']}",
        "node-equal": f"/nodes/{heads['cooler']}",
        "compare": "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler",
        "compare-several": "/compare?a=gpt2-docs/main&b=gpt2-docs/cooler&with=gpt2-docs/hot",
        "weights": "/compare/weights?a=gpt2-docs/main&b=gpt2-docs/cooler",
        "compare-hot": "/compare?a=gpt2-docs/hot&b=gpt2-docs/cooler&y=log&x=since&smooth=0.9",
        "resume": f"/nodes/{changed}/resume?set.lr=abc",
        "resume-preview": f"/nodes/{changed}/resume?set.lr=x0.5,x2",
        "steer": "/runs/gpt2-docs/branches/more-decay/steer",
        "steer-wrong": "/runs/gpt2-docs/branches/more-decay/steer?",
        "audit": "/runs/gpt2-docs/audit?verify=1",
        "alerts": "/runs/gpt2-docs/alerts",
        "agents": "/agents",
        "agent": f"/agents/{helper}",
        "alerts-all": "/alerts",
        "tokens": "/tokens",
        "me": "/me",
        "help": "/help",
        "queue": "/launches",
        "storage": "/storage",
        "manage": "/runs/gpt2-docs/manage",
        "manage-branch": "/runs/gpt2-docs/branches/cooler/manage",
        "trash": "/trash",
        "data": "/runs/live/branches/main/data",
        "stop": "/runs/gpt2-docs/branches/more-decay/stop",
        "missing": "/runs/gpt2-dcos",
    }


def grow(database: Database, store: Store) -> tuple[dict[str, str], Callable[[], None]]:
    """Trees in every state: the pages to look at, and what keeps the living ones alive."""
    old = seeds.Grower(database, store, "digits-mlp")
    line = old.line("main", 100)
    line.commit("root", 0)
    line.log("loss", *seeds.curve(0, 100, 2.3, 0.2, 30, 9))
    final = line.commit("final", 100, loss=0.21)
    line.end("finished")
    pairs = [(0.22, 0.21), (0.23, 0.216), (0.215, 0.208), (0.221, 0.21)]
    tried = make_trial(old, final, pairs, is_grown=False)
    new = seeds.Grower(database, store, "just-started")
    started = new.line("main")
    started.commit("root", 0)
    troubled = seeds.Grower(database, store, "troubled")
    trunk = troubled.line("main", 300)
    root = trunk.commit("root", 0)
    trunk.log("loss", *seeds.curve(0, 300, 3.0, 1.0, 80, 11))
    trunk.end("failed", "RuntimeError: the loss is not a number")
    _waiting, _launch = troubled.order(root, "patient", "try a lower rate", lr=1e-4)
    _lost, failed = troubled.order(root, "broken", "try a higher rate", lr=1e-2)
    with database.transaction() as connection:
        launches.move(connection, failed.id, "failed", "worker", error="train.py is gone.")
        segments.end(connection, failed.segment_id, "failed", actor="worker", error="gone")
    lines = seeds.demo(database, store)
    changed = lines["cooler"].head
    lines["more-decay"].offer()
    lines["more-decay"].ask({"kind": "set", "values": {"lr": 1e-4}}, "let us see")
    old_branch = troubled.line("given-up", 300)
    old_branch.commit("root", 0)
    old_branch.end("failed", "gone")
    control.delete(database, "digits-mlp", actor="ann", reason="superseded by the new data")
    control.delete(database, "troubled/given-up", actor="bob (web)")
    assert changed is not None
    seeds.alerts(lines["hot"])
    helper = seeds.agents(lines["more-decay"])
    live = seeds.Grower(database, store, "live").line("main")
    live.draw(100)
    heads = {name: line.head.id for name, line in lines.items() if line.head is not None}
    pages = addresses(heads, changed.id, helper)
    pages["trial"] = f"/runs/digits-mlp/trials/{tried.id}"
    pages["trials"] = "/runs/gpt2-docs/trials"
    pages["trial-form"] = f"/runs/gpt2-docs/nodes/{changed.id}/trial?settings=lr%3Dx0.9"
    return pages, lambda: [line.beat() for line in (lines["more-decay"], started, live)][0]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
