"""The command `alerts`: what was noticed, what would mend it, from a cursor on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from branchtrack.control.alerts import rules
from branchtrack.core.agents.records import Alert
from branchtrack.core.records import Node
from branchtrack.db.tables import segments
from tests.cli.conftest import Call
from tests.control.alerts.receivers import receiving
from tests.db.watching.rows import add_alert
from tests.trees_for_tests import Tree

Forked = tuple[Tree, list[Node]]


@pytest.fixture(autouse=True)
def _disk_of_any_size(forked: Forked) -> None:
    rules.change_rules(forked[0].database, "demo", {"disk": None}, actor="ann")


def raised(forked: Forked, branch: str = "main", **facts: Any) -> Alert:
    tree, nodes = forked
    offer = {"node": nodes[2].id, "step": 20, "settings": {"lr": "x0.5"}, "name": "main-2"}
    with tree.database.transaction() as connection:
        return add_alert(connection, tree.branches[branch], **{"offer": offer, **facts})


def test_an_alert_is_listed_with_the_command_that_mends_it(call: Call, forked: Forked) -> None:
    assert "No alerts." in call("alerts").out
    alert = raised(forked, text="loss is NaN since step 26", level="error", step=26)
    printed = call("alerts", "demo").out
    assert "demo/main, step 26" in printed and "loss is NaN since step 26" in printed
    assert f"branchtrack resume {forked[1][2].id} --set lr=x0.5 --name main-2" in printed
    assert printed.rstrip().endswith(f"cursor {alert.seq}")


def test_json_has_the_keys_that_are_promised(call: Call, forked: Forked) -> None:
    alert = raised(forked)
    page = call("alerts", "--json").json
    assert set(page) == {"alerts", "cursor", "more"} and page["cursor"] == alert.seq
    (listed,) = page["alerts"]
    promised = "id level kind text step run branch node proposal created_at".split()
    assert set(promised) <= set(listed)
    assert listed["run"] == "demo" and listed["proposal"]["node"] == forked[1][2].id


def test_since_a_cursor_only_what_is_new_is_listed(call: Call, forked: Forked) -> None:
    first, second = raised(forked, key="1"), raised(forked, "cooler", key="2", level="info")
    since = call("alerts", "--since", str(first.seq), "--json").json
    assert [alert["id"] for alert in since["alerts"]] == [second.id]
    assert call("alerts", "--since", str(second.seq), "--json").json["alerts"] == []
    of_branch = call("alerts", "demo/cooler", "--json").json
    assert [alert["id"] for alert in of_branch["alerts"]] == [second.id]
    urgent = call("alerts", "--level", "warn", "--json").json
    assert [alert["id"] for alert in urgent["alerts"]] == [first.id]
    assert call("alerts", "nobody").code == 2


def test_a_list_that_is_cut_says_so(call: Call, forked: Forked) -> None:
    for number in range(3):
        raised(forked, key=str(number))
    cut = call("alerts", "--limit", "2", "--json")
    assert cut.json["more"] and "--all" in cut.err
    assert len(call("alerts", "--limit", "2", "--all", "--json").json["alerts"]) == 3


def test_an_alert_is_marked_as_seen(call: Call, forked: Forked) -> None:
    alert = raised(forked)
    assert call("alerts", "--seen", alert.id[:6], "--json").json["alerts"][0]["seen_by"]
    assert "seen by" in call("alerts").out
    assert call("alerts", "--seen", "ffffffff").code == 2


def test_a_process_that_is_gone_is_noticed_by_the_command(call: Call, forked: Forked) -> None:
    gone = {"heartbeat_at": time.time() - 60, "process": "gone:1:1"}
    with forked[0].database.transaction() as connection:
        chosen = segments.c.id == forked[0].segment("main").id
        connection.execute(segments.update().where(chosen).values(**gone))
    assert [alert["kind"] for alert in call("alerts", "--json").json["alerts"]] == ["crash"]
    assert len(call("alerts", "--json").json["alerts"]) == 1


def test_following_prints_each_new_alert_once(
    call: Call, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised(forked, key="0")
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) > 2:
            raise KeyboardInterrupt
        raised(forked, key=str(len(rests)))

    monkeypatch.setattr("branchtrack.cli.commands.watching.alerts.time.sleep", rest)
    called = call("alerts", "--follow", "--json")
    assert called.code == 130
    printed = [json.loads(text) for text in called.out.splitlines()]
    assert len(printed) == 3 == len({alert["id"] for alert in printed})


def test_the_command_sends_what_is_to_be_sent(
    call: Call, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = raised(forked)
    with receiving() as receiver:
        monkeypatch.setenv("BRANCHTRACK_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("BRANCHTRACK_WEBHOOK_ALLOW_PRIVATE", "1")
        assert call("alerts").code == 0
        assert [payload["id"] for payload in receiver.payloads] == [alert.id]
    monkeypatch.setenv("BRANCHTRACK_WEBHOOK_LEVEL", "loud")
    assert call("alerts").code == 2


def test_all_alerts_of_a_run_are_marked_as_seen(call: Call, forked: Forked) -> None:
    raised(forked, key="1")
    raised(forked, key="2")
    seen = call("alerts", "demo", "--seen", "all", "--json").json["alerts"]
    assert len(seen) == 2 and all(alert["seen_by"] for alert in seen)
    assert call("alerts", "--seen", "all").code == 2
    assert call("verify", "--all").code == 0
