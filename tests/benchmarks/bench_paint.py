"""What a reader waits for in a browser: a large tree's first look, and a new point in its chart.

    python -m tests.benchmarks.bench_paint [--branches 60] [--nodes 80] [--steps 14500] [--rounds 5]

A server of its own process serves a tree; Chromium opens it with an empty cache each time. Then a
point is logged twice a second, whose value is the time, a node is committed every ten seconds, and
the page notes when its chart has been drawn with a point.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil
from playwright.sync_api import Browser, sync_playwright

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.db.schema import open_database
from tests.benchmarks.bench_pages import grow
from tests.benchmarks.bench_tabs import serve
from tests.browser.conftest import ARGUMENTS
from tests.web import seeds

#: Seconds for which points are logged.
_SECONDS = 30.0
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    done(list.getEntries().at(-1).startTime);
}).observe({ type: "largest-contentful-paint", buffered: true }))"""
#: A stroke after points have arrived draws them; the frame after it is seen.
_NOTE = """
window.ages = [];
let newest = null;
document.addEventListener("branchtrack:points", ({ detail }) => {
    for (const { loss } of Object.values(detail)) if (loss) newest = loss.at(-1)[1];
});
const stroke = CanvasRenderingContext2D.prototype.stroke;
CanvasRenderingContext2D.prototype.stroke = function (...path) {
    const drawn = newest;
    newest = null;
    if (drawn !== null) requestAnimationFrame(() => {
        setTimeout(() => window.ages.push(Date.now() - drawn * 1000));
    });
    return stroke.apply(this, path);
};
"""


def main(branches: int, nodes: int, steps: int, rounds: int) -> dict[str, float]:
    """Print what was measured in ms, and return it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder) / "home"
        config = load(home)
        database, store = open_database(config, create=True), open_store(config.store)
        last = grow(seeds.Grower(database, store, "big"), branches, nodes, steps)
        port: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(home, port), daemon=True)
        server.start()
        address = f"http://127.0.0.1:{port.get()}/runs/big"
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        paints = [_paint(browser, address) for _ in range(rounds + 1)][1:]
        process = psutil.Process(server.pid)
        before = process.cpu_times()
        ages = _ages(browser, address, last)
        after = process.cpu_times()
        browser.close()
        server.kill()
        database.close()
    spent = after.user + after.system - before.user - before.system
    measured = {
        "largest paint, median": statistics.median(paints),
        "largest paint, most": max(paints),
        "point to pixel, median": statistics.median(ages),
        "point to pixel, most": max(ages),
    }
    for name, value in measured.items():
        print(f"{name:24} {value:8.0f} ms")
    print(f"{'server, live tab':24} {spent / _SECONDS:8.1%} of a core")
    return measured


def _paint(browser: Browser, address: str) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".chart canvas")
    page.wait_for_timeout(500)
    paint = float(page.evaluate(_PAINT))
    context.close()
    return paint


def _ages(browser: Browser, address: str, line: seeds.Line) -> list[float]:
    """Return the ages in ms of points as they are seen."""
    page = browser.new_page()
    page.add_init_script(_NOTE)
    page.goto(address)
    page.wait_for_selector(".chart canvas")
    done = threading.Event()
    writer = threading.Thread(target=_train, args=(line, done), daemon=True)
    writer.start()
    page.wait_for_timeout(_SECONDS * 1000)
    done.set()
    writer.join()
    ages: list[float] = page.evaluate("window.ages")
    page.close()
    return ages


def _train(line: seeds.Line, done: threading.Event) -> None:
    turns = 0
    while not done.wait(0.5):
        line.log("loss", [line.step + 1], [time.time()])
        if turns % 20 == 19:
            line.commit("checkpoint", line.step)
        line.beat()
        turns += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("branches", 60), ("nodes", 80), ("steps", 14_500), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))
