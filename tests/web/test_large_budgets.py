"""What pages of a large home may weigh, and how much of it they may read."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import numpy as np
import pytest

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.core import lifecycle
from branchtrack.core.records import Node
from branchtrack.db.schema import open_database
from branchtrack.web.app import create_app
from tests.web import seeds
from tests.web.compiled import compiled_once
from tests.web.conftest import Site
from tests.web.test_budgets import MOST, rows_read, statements

LIVE = {"HX-Request": "true", "HX-Target": "div#live"}
RUN = "/runs/large"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Sixty branches of 24 nodes and 1,600 points of a loss each, the last of which trains."""
    config = load(tmp_path_factory.mktemp("large") / "home")
    database, store = open_database(config, create=True), open_store(config.store)
    grower = seeds.Grower(database, store, "large")
    noise = np.random.default_rng(0)
    line = grower.line("main", 10_000)
    heads: list[Node] = []
    for number in range(60):
        if heads:
            line.end("finished")
            line = grower.fork(heads[number // 2], f"try-{number:02}", lr=1e-3 * 0.9**number)
        first = line.step
        seeds.many(line, 24)
        steps = range(first + 1, first + 1601)
        line.log("loss", steps, 2 + noise.normal(0, 0.1, 1600))
        line.log("lr", steps[::20], np.full(80, 1e-3))
        line.log("eval_loss", steps[::200], 3 - np.arange(8) / 10 + number / 100)
        assert line.head is not None
        heads.append(line.head)
    line.beat()
    with compiled_once(), pytest.MonkeyPatch.context() as patch:
        # On a slow machine nobody beats between two answers; a lost branch would be shown else.
        for limit in ("LOST_AFTER", "GONE_AFTER", "SILENT_AFTER"):
            patch.setattr(lifecycle, limit, 1e9)
        app = create_app(config, database, store, token=None)
        yield Site(app, config, database, store, {"last": line})
    database.close()


def live_address(site: Site) -> str:
    found = re.search(r'id="live" hx-get="([^"]+)"', site.client.get(RUN).text)
    assert found is not None
    return found[1].replace("&amp;", "&")


@pytest.mark.parametrize(
    ("path", "raw", "packed"),
    [
        (RUN, 150_000, 40_000),
        (f"{RUN}?show=all", 450_000, 60_000),
        (f"{RUN}?from=500&to=900", 150_000, 40_000),
        (f"{RUN}/chart", 150_000, 45_000),
        ("/compare?a=large/main&b=large/try-58", 110_000, 30_000),
        (f"{RUN}/branches/try-59/steer", 60_000, 15_000),
        ("/", 60_000, 10_000),
    ],
)
def test_a_page_of_a_large_tree_weighs_what_it_shows(
    large: Site, path: str, raw: int, packed: int
) -> None:
    large.lines["last"].beat()
    with statements(large) as seen:
        content = large.client.get(path).data
    assert len(content) <= raw and len(gzip.compress(content, 5)) <= packed
    assert len(seen) <= MOST


def test_a_live_update_is_what_changed(large: Site) -> None:
    line = large.lines["last"]
    line.beat()
    assert len(large.client.get(live_address(large), headers=LIVE).data) <= 5_000
    address = live_address(large)
    line.commit("intervention", line.step + 1, {"lr": 1e-5}, "too high")
    line.beat()
    with rows_read(large) as read:
        changed = large.client.get(address, headers=LIVE).data
    assert len(changed) <= 12_000 and read[0] <= 1_000


def test_a_node_is_shown_without_reading_its_run(large: Site) -> None:
    head = large.lines["last"].head
    assert head is not None
    for path in (f"/nodes/{head.id}", f"/nodes/{head.id}/resume"):
        with rows_read(large) as read:
            large.client.get(path)
        assert read[0] <= 400, path
