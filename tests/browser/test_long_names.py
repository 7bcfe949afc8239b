"""Names of one long word, and reasons, notes and messages that are one: no page becomes wider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from branchtrack.checkpoints.location import open_store
from branchtrack.config import load
from branchtrack.core.trials.records import Arm
from branchtrack.db import labels
from branchtrack.db.orders import launches
from branchtrack.db.schema import open_database
from tests.browser.conftest import Site, opened_page, served
from tests.browser.test_accessibility import CUT_OFF, settle
from tests.web import seeds
from tests.web.tried import NAN, make_trial

pytestmark = pytest.mark.browser

RUN = "llama3_8b_instruct_lora_r16_alpha32_lr1e4_bs64_seed42"
BRANCH = "warmup_2000_cosine_lr_3e4_weight_decay_0_1"
LONGEST = "b" * 80
WORD = "3f" * 1000
#: The trial of the site.
TRIALS: list[str] = []
#: On a wide page, too, its tables scroll: two are side by side and have a column for each branch.
MANY = "compare six"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One served tree of which all that people name or write is long, which is only looked at."""
    config = load(tmp_path_factory.mktemp("long") / "home")
    database = open_database(config, create=True)
    store = open_store(config.store)
    lines = seeds.demo(database, store, RUN)
    grower, cooler = lines["cooler"].grower, lines["cooler"].head
    assert cooler is not None
    lines["long"] = named = grower.fork(cooler, BRANCH, WORD, lr=1e-4)
    seeds.log_all(named, *seeds.curve(2000, 2200, 2.0, 1.8, 170, 4))
    named.commit("intervention", 2200, {"lr": 1e-5}, WORD, "anna", loss=1.8, eval_loss=1.9)
    named.offer()
    named.ask({"kind": "set", "values": {"lr": 1e-4}}, WORD, "applied")
    lines["longest"] = longest = grower.fork(cooler, LONGEST, WORD, lr=1e-6)
    seeds.log_all(longest, *seeds.curve(2000, 2200, 2.0, 1.8, 170, 4))
    for number in range(5):
        longest.log(f"a_metric_with_a_long_name_{number}_of_some_part_of_it", [2100], [1.0])
    longest.commit("final", 2200, message=WORD, loss=1.7, eval_loss=1.8)
    grower.order(cooler, "w" * 80, WORD, lr=1e-5)
    _line, launch = grower.order(cooler, "f" * 80, WORD, lr=1e-3)
    with database.transaction() as connection:
        launches.move(connection, launch.id, "failed", "worker", error=WORD)
    seeds.alerts(named)
    seeds.agents(named)
    with database.transaction() as connection:
        for item in (grower.run, named.branch):
            labels.set_notes(connection, item, WORD, actor="ann", why=WORD)
            labels.set_tags(connection, item, ["t" * 40], actor="ann", why=WORD)
    arms = [Arm(f"{'s' * 80}=x0.9", {"lr": "x0.9"})]
    head = named.head
    assert head is not None
    facts = {"subject": head.id, "error": WORD, "reason": WORD, "group": "g" * 80}
    pairs = [(2.0, 1.9), (2.0, NAN), (2.1, 2.0)]
    trial = make_trial(grower, head, pairs, arms=arms, state="cancelled", **facts)
    TRIALS.append(trial.id)
    database.close()
    with served((config, lines), tmp_path_factory.mktemp("served")) as site:
        yield site


def pages(site: Site) -> dict[str, str]:
    """Every page that shows names or what people wrote."""
    head, longest = site.lines["long"].head, site.lines["longest"].head
    assert head is not None
    assert longest is not None
    sides = f"a={RUN}/{BRANCH}&b={RUN}/{LONGEST}"
    return {
        "runs": "runs",
        "tree": f"runs/{RUN}",
        "alerts": f"runs/{RUN}/alerts",
        "all alerts": "alerts",
        "agents": "agents",
        "node": f"nodes/{head.id}",
        "compare": f"compare?{sides}",
        "compare several": f"compare?{sides}&with={RUN}/main",
        MANY: f"compare?{sides}"
        + "".join(f"&with={RUN}/{name}" for name in ("main", "hot", "cooler", "more-decay")),
        "compare nodes": f"compare/nodes?a={head.id}&b={longest.id}",
        "weights": f"compare/weights?{sides}",
        "resume": f"nodes/{head.id}/resume",
        "steer": f"runs/{RUN}/branches/{BRANCH}/steer",
        "audit": f"runs/{RUN}/audit",
        "stop": f"runs/{RUN}/branches/{BRANCH}/stop",
        "queue": "launches",
        "storage": "storage",
        "manage": f"runs/{RUN}/manage",
        "manage branch": f"runs/{RUN}/branches/{BRANCH}/manage",
        "trials": f"runs/{RUN}/trials",
        "trial": f"runs/{RUN}/trials/{TRIALS[-1]}",
        "trial form": f"runs/{RUN}/nodes/{head.id}/trial?intervention=1&settings={'s' * 80}=1",
        "data": f"runs/{RUN}/branches/{BRANCH}/data",
    }


@pytest.fixture(scope="module", params=[390, 1280])
def widths(
    browser: Browser, site: Site, request: pytest.FixtureRequest
) -> Iterator[tuple[int, Page]]:
    """A page of a width, which has been let in."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    with opened_page(context, site) as page:
        yield request.param, page
    context.close()


def test_long_words_make_no_page_and_no_table_wider(widths: tuple[int, Page], site: Site) -> None:
    width, page = widths
    overflows: dict[str, object] = {}
    for name, path in pages(site).items():
        page.goto(site.root + path)
        settle(page)
        measured = page.evaluate("document.documentElement.scrollWidth")
        tables = page.evaluate(CUT_OFF)
        if measured > width or (tables and (name != MANY or width < 760)):
            overflows[name] = (measured, tables)
    assert overflows == {}
