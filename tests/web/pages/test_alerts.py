"""The alerts of a run: what is wrong, a fork that is filled in, and a button for what was seen."""

from __future__ import annotations

import re
from typing import Any

from branchtrack.core.agents.records import Alert
from branchtrack.db import tokens
from branchtrack.db.watching import alerts
from tests.db.watching.rows import add_alert
from tests.web.conftest import Site


def raised(site: Site, **facts: Any) -> Alert:
    """An alert of ``main`` with an offer from its head."""
    offer = {"node": site.node("main"), "step": 40, "settings": {"lr": "x0.5"}, "name": "calm"}
    with site.database.transaction() as connection:
        return add_alert(connection, site.lines["main"].branch, **{"offer": offer, **facts})


def test_a_run_without_alerts_says_so(own: Site) -> None:
    assert "No alerts." in own.get("/runs/digits/alerts").text


def test_an_alert_is_listed_with_its_step_and_its_branch(own: Site) -> None:
    raised(own, text="loss is NaN since step 812", level="error", step=812)
    (row,) = own.get("/runs/digits/alerts").table("Alerts")
    assert row["level"] == "error" and row["branch"] == "main" and row["step"] == "812"
    assert "loss is NaN since step 812" in row["alert"]


def test_the_offer_leads_to_the_form_of_the_fork_filled_in(own: Site) -> None:
    raised(own, text="loss is NaN")
    page = own.get("/runs/digits/alerts")
    (form,) = [each for each in page.all("form") if "/resume" in each.get("action")]
    fields = {each["name"]: each["value"] for each in form.all("input")}
    assert fields == {"set.lr": "x0.5", "name": "calm", "reason": "loss is NaN"}
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    filled = own.get(f"{form['action']}?{query}")
    assert filled.one("input", name="set.lr")["value"] == "x0.5"
    assert filled.one("input", name="name")["value"] == "calm"


def test_seen_is_noted_once_and_the_marks_of_new_alerts_go(own: Site) -> None:
    alert = raised(own)
    assert "1 alert" in own.get("/").text and "1 new alert" in own.get("/runs/digits").text
    answer = own.client.post(f"/alerts/{alert.id}/seen")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/runs/digits/alerts#alert-{alert.id}"
    with own.database.read() as connection:
        assert alerts.get(connection, alert.id).seen_by
    assert "seen by" in own.get("/runs/digits/alerts").text
    assert "1 alert" not in own.get("/").text
    assert "new alert" not in own.get("/runs/digits").text
    assert own.client.post("/alerts/0123456789abcdef/seen").status_code == 404


def test_alerts_are_chosen_by_level_and_branch_and_paged(own: Site) -> None:
    for number in range(60):
        raised(own, key=str(number), level="warn" if number % 2 else "info", step=number)
    page = own.get("/runs/digits/alerts")
    assert len(page.table("Alerts")) == 50
    (older,) = [link for link in page.all("a") if link.text == "Older alerts"]
    assert len(own.get(older["href"]).table("Alerts")) == 10
    assert len(own.get("/runs/digits/alerts?level=warn").table("Alerts")) == 30
    assert len(own.get("/runs/digits/alerts?level=warn&branch=main").table("Alerts")) == 30
    own.get("/runs/digits/alerts?level=loud", 422)
    refused = own.get("/runs/digits/alerts?branch=mian", 404).one("main")
    assert "There is no branch" in refused.text and "main" in refused.text
    assert refused.by_role("link", "Without branch")[0]["href"] == "/runs/digits/alerts"


def test_the_lane_of_a_branch_has_a_mark_of_its_new_alerts(own: Site) -> None:
    lane = own.get("/runs/digits").one(id="branch-main")
    assert "alert" not in lane.text
    raised(own, key="1")
    raised(own, key="2")
    assert "2 alerts" in own.get("/runs/digits").one(id="branch-main").text


def test_all_alerts_are_marked_as_seen_at_once(own: Site) -> None:
    for number in range(3):
        raised(own, key=str(number))
    page = own.get("/runs/digits/alerts")
    assert "3 warnings and errors not seen yet" in page.text
    answer = own.client.post("/runs/digits/alerts/seen")
    assert answer.status_code == 303 and answer.headers["Location"] == "/runs/digits/alerts"
    page = own.get("/runs/digits/alerts")
    assert "0 warnings and errors not seen yet" in page.text and "Mark all as seen" not in page.text


def test_good_news_have_no_mark(own: Site) -> None:
    raised(own, level="info", kind="target")
    assert "alert" not in own.get("/").one("tbody").text
    assert "new alert" not in own.get("/runs/digits").text


def test_alerts_of_all_runs_are_on_one_page(own: Site) -> None:
    assert "No alerts." in own.get("/alerts").text
    alert = raised(own, text="loss is NaN", level="error", step=7)
    raised(own, text="a remark", level="info", key="another")
    rows = own.get("/alerts").table("Alerts")
    assert [row["run and branch"] for row in rows] == ["digits main", "digits main"]
    assert len(own.get("/alerts?level=warn").table("Alerts")) == 1
    (form,) = [
        each for each in own.get("/alerts").all("form") if f"{alert.id}/seen" in each["action"]
    ]
    answer = own.client.post(form["action"])
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/alerts#alert-{alert.id}")


def test_who_may_only_look_sees_disabled_buttons_whose_attributes_are_apart(own: Site) -> None:
    raised(own, text="loss is NaN")
    with own.database.transaction() as connection:
        _token, secret = tokens.create(connection, "guest", "viewer", created_by="test")
    answer = own.client.get("/alerts", headers={"Authorization": f"Bearer {secret}"})
    assert "disabled title=" in answer.text
    assert re.findall(r'[^=]"[a-z-]+=', answer.text) == []
