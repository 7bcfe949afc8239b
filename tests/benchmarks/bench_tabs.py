"""Many open live tabs: how long ordinary pages take meanwhile, and how late new points arrive.

    python -m tests.benchmarks.bench_tabs [--tabs 200] [--runs 10] [--seconds 30]

A server of its own process serves runs that log points twice a second and commit a node every ten
seconds. Each tab reads its stream and asks for its live part when something has happened, as
`static/js/live.js` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import statistics
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from branchtrack.web.serving.server import Server
from tests.web import seeds

_METRICS = ("loss", "eval_loss", "lr", "grad_norm")
#: Seconds from the last tab's opening until the measurement.
_SETTLE = 12.0
#: Tabs of one person, that is of one address.
_EACH = 4
_LIVE = "HX-Request: true\r\nHX-Target: div#live\r\n"


def main(tabs: int, runs: int, seconds: float) -> dict[str, float]:
    """Print what was measured, and return it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        lines = _grow(home, runs)
        port: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(home, port), daemon=True)
        server.start()
        done = threading.Event()
        writer = threading.Thread(target=_train, args=(lines, done), daemon=True)
        writer.start()
        found = asyncio.run(_measure(port.get(), server.pid or 0, tabs, runs, seconds))
        done.set()
        writer.join()
        server.kill()
    for name, value in found.items():
        print(f"{name:32} {value:8.1f}")
    return found


def _grow(home: Path, runs: int) -> list[seeds.Line]:
    config = load(home)
    database, store = open_database(config, create=True), open_store(config.store)
    lines = []
    for number in range(runs):
        line = seeds.Grower(database, store, f"run-{number}").line("main", 10**6)
        seeds.many(line, 60)
        for name in _METRICS:
            line.log(name, range(61, 3061), [1.0] * 3000)
        line.beat()
        lines.append(line)
    return lines


def serve(home: Path, port: multiprocessing.Queue[int]) -> None:
    config = load(home)
    database, store = open_database(config), open_store(config.store)
    server = Server(create_app(config, database, store, token=None), "127.0.0.1", 0)
    port.put(int(server.address.rstrip("/").rpartition(":")[2]))
    server.run()


def _train(lines: list[seeds.Line], done: threading.Event) -> None:
    """Log the time as the value of a point of each run, so that a reader knows its age."""
    turns = 0
    while not done.wait(0.5):
        for line in lines:
            line.log("loss", [line.step + 1], [time.time() % 1e5])
            if turns % 20 == 0:
                line.commit("checkpoint", line.step)
            line.beat()
        turns += 1


class _Tab:
    """A page that is open, with the ages of the points that arrived at it in seconds."""

    def __init__(self, port: int, run: str, address: str) -> None:
        self.port, self.run, self.address = port, run, address
        self.ages: list[float] = []
        self.live = ""

    async def follow(self) -> None:
        """Open the page, then read its stream until it is cancelled."""
        html = (await _get(self.port, f"/runs/{self.run}", address=self.address))[1]
        await _get(self.port, f"/runs/{self.run}/chart", address=self.address)
        found = re.search(r'id="live" hx-get="([^"]+)"', html)
        after = re.search(r'data-after="([^"]+)"', html)
        assert found is not None and after is not None
        self.live = found[1].replace("&amp;", "&")
        names = "&".join(f"metric={name}" for name in _METRICS)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(self.address, 0)
        )
        path = f"/runs/{self.run}/events?{names}&after={quote(after[1])}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        event = ""
        while text := (await reader.readline()).decode():
            if text.startswith("event: "):
                event = text[7:].strip()
            elif text.startswith("data: ") and event == "changed":
                await asyncio.sleep(0.4 * (1 + random.random()))
                await self._refresh()
            elif text.startswith("data: ") and event == "progress":
                points = json.loads(text[6:])["points"].get("main", {}).get("loss", [])
                self.ages += [time.time() % 1e5 - value for _step, value in points[-1:]]

    async def _refresh(self) -> None:
        html = (await _get(self.port, self.live, _LIVE, self.address))[1]
        found = re.search(r'id="live" hx-get="([^"]+)"', html)
        self.live = found[1].replace("&amp;", "&") if found else self.live


async def _get(
    port: int, path: str, headers: str = "", address: str = "127.0.0.1"
) -> tuple[float, str]:
    """Return how long an answer took in ms, and its text."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}\r\n"
    writer.write(head.encode())
    content = await reader.read()
    writer.close()
    return (time.perf_counter() - began) * 1e3, content.decode(errors="replace")


async def _measure(port: int, pid: int, tabs: int, runs: int, seconds: float) -> dict[str, float]:
    opened = [
        _Tab(port, f"run-{number % runs}", f"127.0.1.{number // _EACH + 1}")
        for number in range(tabs)
    ]
    following = []
    for tab in opened:
        following.append(asyncio.create_task(tab.follow()))
        await asyncio.sleep(0.05)
    # Tabs that were opened at different times show the same after the next node.
    await asyncio.sleep(_SETTLE)
    for tab in opened:
        tab.ages.clear()
    process = psutil.Process(pid)
    before, began = sum(process.cpu_times()[:2]), time.perf_counter()
    taken = []
    while time.perf_counter() - began < seconds:
        for path in ("/", "/runs/run-0", "/runs/run-1/audit"):
            taken.append((await _get(port, path))[0])
        await asyncio.sleep(0.5)
    spent, lasted = sum(process.cpu_times()[:2]) - before, time.perf_counter() - began
    for task in following:
        task.cancel()
    ages = sorted(age for tab in opened for age in tab.ages)
    taken.sort()
    return {
        "pages, median ms": statistics.median(taken),
        "pages, p95 ms": taken[int(0.95 * len(taken))],
        "point to tab, median ms": statistics.median(ages) * 1e3,
        "point to tab, p95 ms": ages[int(0.95 * len(ages))] * 1e3,
        "points received": float(len(ages)),
        "server, % of a core": 100 * spent / lasted,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tabs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30.0)
    main(**vars(parser.parse_args()))
