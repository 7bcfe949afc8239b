"""Every route by every kind of caller: what is answered, and what is refused.

A route that is not in the table fails the first test.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from branchtrack import control
from branchtrack.checkpoints.location import open_store
from branchtrack.checkpoints.packs import Store
from branchtrack.config import load
from branchtrack.core import actors
from branchtrack.core.actors import Actor
from branchtrack.core.names import new_id
from branchtrack.core.records import Run, Token
from branchtrack.core.trials.records import RUNNING, SETTLED
from branchtrack.db import runs, tokens
from branchtrack.db.browsing import saved_views
from branchtrack.db.engine import Database
from branchtrack.db.schema import open_database
from branchtrack.web.access import guards
from branchtrack.web.access.limits import Limit
from branchtrack.web.api import contract
from branchtrack.web.app import create_app
from tests.db.watching.rows import add_agent, add_alert
from tests.matrices import some
from tests.web import dom, seeds
from tests.web.conftest import client_of
from tests.web.route_table import CALLERS, MAY, ROUTES, STEERS
from tests.web.tried import declare_seed, make_trial

STRANGERS = ("nobody", "wrong", "revoked")
SERVER = "the-servers-own"
_NUMBERS = itertools.count()


@dataclass
class Gate:
    """A server with a token of its own, and what each caller shows to it."""

    app: Flask
    database: Database
    store: Store
    secrets: dict[str, str]
    tokens: dict[str, Token]
    line: seeds.Line
    group: str = ""

    def call(self, endpoint: str, caller: str, **changed: Any) -> int:
        """The status that a caller is answered with; ``changed`` fields of the body."""
        return self.open(endpoint, caller, **changed).status_code

    def open(self, endpoint: str, caller: str, **changed: Any) -> TestResponse:
        """The answer that a caller gets; ``changed`` fields of the body."""
        method, path, needs = ROUTES[endpoint]
        path = path.replace("NODE", self.line.head.id if self.line.head else "")
        path = path.replace("REQUEST", self.request_of(caller) if "REQUEST" in path else "")
        path = path.replace("IDLE", self.idle_branch() if "IDLE" in path else "")
        path = path.replace("DELETED", self.deleted_run() if "DELETED" in path else "")
        path = path.replace("SPARE", self.spare_run().name if "SPARE" in path else "")
        path = path.replace("AGENT", self.agent() if "AGENT" in path else "")
        path = path.replace("PROPOSAL", self.proposal() if "PROPOSAL" in path else "")
        path = path.replace("ALERT", self.alert() if "ALERT" in path else "")
        path = path.replace("LAUNCH", self.launch_of(caller) if "LAUNCH" in path else "")
        path = path.replace("TRIAL", self.trial_of(caller) if "TRIAL" in path else "")
        path = path.replace("OVER", self.trial_of("") if "OVER" in path else "")
        path = path.replace("TOKEN", self.spare_token(caller) if "TOKEN" in path else "")
        changed |= {"change": self.change_of(caller)} if needs == "undo" else {}
        changed |= {"name": self.saved_view()} if needs == "unname" else {}
        changed |= self.kept() if needs == "promote" else {}
        secret = self.secrets.get(caller)
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        body = {} if method == "GET" else body_of(path, needs, changed)
        takes = contract.of(self.app.view_functions[endpoint])
        if takes is not None and takes.body is None:
            body = {}
        # Strangers of one address may ask for less than all routes.
        address = {"REMOTE_ADDR": f"127.0.1.{list(CALLERS).index(caller) + 1}"}
        answer = client_of(self.app).open(
            path,
            method=method,
            headers=headers,
            buffered=endpoint not in ("streams.events", "api_audit.events"),
            environ_overrides=address,
            **body,
        )
        answer.close()
        return answer

    def agent(self) -> str:
        """An agent at work."""
        with self.database.transaction() as connection:
            return add_agent(connection, self.line.branch.run_id, f"a{next(_NUMBERS)}").id

    def proposal(self) -> str:
        """A proposal that waits for a decision."""
        return control.submit(
            self.database, "digits", {"kind": "pause"}, actor="ann", propose=True
        ).id

    def request_of(self, caller: str) -> str:
        """A request of the caller's own that waits; somebody else's where it can make none."""
        token = self.tokens.get(caller)
        who = Actor("somebody")
        if token is not None and caller in STEERS:
            who = Actor(token.name, token.role, "web", token.id, token.only)
        payload = {"kind": "set", "values": {"lr": 1e-3}}
        return control.submit(self.database, "digits/main", payload, actor=who, reason="x").id

    def change_of(self, caller: str) -> str:
        """A change that the caller has just made; none where it can make none."""
        answer = client_of(self.app).post(
            "/runs/organise",
            data={"run": "digits", "deed": "tag", "tags": f"t{next(_NUMBERS)}"},
            headers={"Authorization": f"Bearer {self.secrets.get(caller)}"},
        )
        return answer.headers.get("Location", "").rpartition("=")[2]

    def saved_view(self) -> str:
        """The name of a saved view."""
        with self.database.transaction() as connection:
            saved_views.save(connection, "spare", "sort=lr", "test")
        return "spare"

    def idle_branch(self) -> str:
        """A new branch whose process has failed."""
        grower = self.line.grower
        line = grower.line(f"idle-{next(_NUMBERS)}", 100)
        line.commit("root", 0)
        line.end("failed")
        return line.branch.name

    def spare_run(self) -> Run:
        """A new run without a node."""
        with self.database.transaction() as connection:
            return runs.create_run(connection, "spare", actor="test")

    def deleted_run(self) -> str:
        """The id of a run in the trash."""
        run = self.spare_run()
        control.delete(self.database, run.name, actor="test")
        return run.id

    def alert(self) -> str:
        """The id of an alert about the branch."""
        with self.database.transaction() as connection:
            return add_alert(connection, self.line.branch).id

    def launch_of(self, caller: str) -> str:
        """A launch of the caller's own that waits; somebody else's where it can order none."""
        token = self.tokens.get(caller)
        who = Actor("somebody")
        if token is not None and caller in MAY["launch"]:
            who = Actor(token.name, token.role, "web", token.id, token.only)
        node = self.line.head.id if self.line.head else ""
        return control.create_launch(self.database, self.store, node, actor=who, reason="x").id

    def trial_of(self, caller: str) -> str:
        """A trial of the caller's own that runs; somebody else's where it can order none, and
        one that is over of nobody's."""
        assert self.line.head is not None
        token = self.tokens.get(caller)
        is_author = token is not None and caller in MAY["launch"]
        who = Actor(token.name, token.role) if token and is_author else Actor("somebody")
        label = Actor(who.name, who.role, token_id="x").label if is_author else who.label
        self.group = f"trial-{next(_NUMBERS)}"
        state = RUNNING if caller else SETTLED
        facts = {"state": state, "group": self.group, "actor": label, "repeats": 8}
        return make_trial(self.line.grower, self.line.head, [(2.0, 1.9)], **facts).id

    def kept(self) -> dict[str, str]:
        """Which branch of the newest trial is kept, and its new name."""
        return {"branch": f"{self.group}-control-1", "name": f"kept-{next(_NUMBERS)}"}

    def spare_token(self, caller: str) -> str:
        """A token to be revoked."""
        name = f"spare-{caller}-{new_id()[:6]}"
        with self.database.transaction() as connection:
            tokens.create(connection, name, "viewer", created_by="test")
        return name


def body_of(path: str, needs: str, changed: dict[str, Any]) -> dict[str, Any]:
    """The body that a route takes: JSON of the API, a form of the pages."""
    if needs == "act":
        return {"json": {"type": "set_knob", "payload": {"name": "lr", "value": 2e-3}}}
    is_api = path.startswith("/api/")
    told: dict[str, Any] = {
        "theme": {"theme": "dark"},
        "keys": {"keys": "off"},
        "cancel": {},
        "end": {},
        "pin": {},
        "rename": {"name": "digits"},
        "name": {"name": "all"},
        "organise": {"run": "digits", "deed": "pin"},
        "order": {"mode": "act"},
        "retain": {"keep": "thin"},
        "try": {"settings": "lr=x0.5", "steps": "10", "reason": "why"},
        "review": {"steps": 10, "repeats": 3, "reason": "why"},
        "replay": {
            "recording": '{"format": "branchtrack-interventions", "version": 1}',
            "reason": "why",
        },
    }.get(needs, {"reason": "why"})
    if needs in ("ask", "judge"):
        told |= {"kind": "set"}
        told |= {"values": {"lr": 2e-3}} if is_api else {"set.lr": "2e-3"}
    elif needs == "try" and is_api:
        told |= {"settings": {"lr": "x0.5"}, "steps": 10}
    elif needs == "tokens":
        told = {"name": f"made-{new_id()}", "role": "viewer"}
    told = {**told, **changed}
    return {"json": told} if is_api else {"data": told}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    config = load(tmp_path_factory.mktemp("gate") / "home")
    database, store = open_database(config, create=True), open_store(config.store)
    grower = seeds.Grower(database, store, "digits")
    line, other = grower.line("main", 100), grower.line("other", 100)
    for each in (other, line):
        each.commit("root", 0)
        each.log("loss", *seeds.curve(0, 40, 2.3, 0.4, 20, 7))
    declare_seed(line)
    declare_seed(other)
    line.commit("checkpoint", 40, loss=0.5)
    other.commit("intervention", 40, {"lr": 1e-3}, loss=0.5)
    secrets, made = {"wrong": "bt_wrong", "person": SERVER}, {}
    for caller, facts in CALLERS.items():
        if facts is not None:
            with database.transaction() as connection:
                token, secret = tokens.create(connection, caller, created_by="test", **facts)
                secrets[caller], made[caller] = secret, token
    with database.transaction() as connection:
        tokens.revoke(connection, "revoked")
    app = create_app(config, database, store, token=SERVER)
    # All routes at once are more than one caller may ask for on a quick machine.
    for limit in vars(guards.limits(app)).values():
        if isinstance(limit, Limit):
            limit.burst = math.inf
    yield Gate(app, database, store, secrets, made, line)
    database.close()


@pytest.fixture(autouse=True)
def _alive(gate: Gate) -> None:
    gate.line.beat()


def test_the_table_has_every_route_and_every_role(gate: Gate) -> None:
    assert set(ROUTES) == {rule.endpoint for rule in gate.app.url_map.iter_rules()}
    assert {facts["role"] for facts in CALLERS.values() if facts} == set(actors.ROLES)


def test_every_route_of_the_api_is_documented_for_the_roles_that_it_answers(gate: Gate) -> None:
    for endpoint, (_method, path, needs) in ROUTES.items():
        agreed = contract.of(gate.app.view_functions[endpoint])
        assert (agreed is not None) == path.startswith("/api/")
        callers = [CALLERS[caller] for caller in MAY[needs]]
        assert agreed is None or set(agreed.roles) == {who["role"] for who in callers if who}


def at_the_border(endpoint: str) -> list[tuple[str, str]]:
    """Nobody, the least that may call a route, and the most that may not."""
    allowed = [caller for caller in CALLERS if caller in MAY[ROUTES[endpoint][2]]]
    refused = [caller for caller in CALLERS if caller not in (*allowed, *STRANGERS)]
    callers = dict.fromkeys(["nobody", allowed[0], *refused[-1:]])
    return [(endpoint, caller) for caller in callers]


@pytest.mark.parametrize(
    ("endpoint", "caller"),
    some(itertools.product(ROUTES, CALLERS), *(c for name in ROUTES for c in at_the_border(name))),
)
def test_a_route_answers_whom_it_is_for(gate: Gate, endpoint: str, caller: str) -> None:
    needs = ROUTES[endpoint][2]
    status = gate.call(endpoint, caller)
    if caller in MAY[needs]:
        assert status in (200, 201, 202, 303)
    else:
        assert status == (401 if caller in STRANGERS else 403)


@pytest.mark.parametrize("caller", STEERS)
@pytest.mark.parametrize(
    "endpoint", [name for name, route in ROUTES.items() if route[2] in ("ask", "launch")]
)
def test_agents_alone_have_to_say_why(gate: Gate, endpoint: str, caller: str) -> None:
    refused = 422 if caller in MAY[ROUTES[endpoint][2]] else 403
    status = gate.call(endpoint, caller, reason="-")
    is_agent = (CALLERS[caller] or {}).get("role") == "agent"
    assert status == refused if is_agent else status < 400


@pytest.mark.parametrize("endpoint", ["steer.submit", "api_requests.submit"])
def test_a_token_for_some_names_asks_for_no_others(gate: Gate, endpoint: str) -> None:
    if endpoint == "api_requests.submit":
        assert gate.call(endpoint, "narrow", kind="set", values={"weight_decay": 0.1}) == 403
    else:
        assert gate.call(endpoint, "narrow", **{"set.weight_decay": "0.1"}) == 403


def test_an_agent_takes_back_its_own_requests_alone(gate: Gate) -> None:
    foreign = gate.request_of("operator")
    for path in ("/requests", "/api/v1/requests"):
        answer = client_of(gate.app).post(
            f"{path}/{foreign}/cancel", headers={"Authorization": f"Bearer {gate.secrets['agent']}"}
        )
        assert answer.status_code == 403


REFUSALS = "may read, but not|may not do this|is not for|did not order"


def posting_buttons(gate: Gate, page: dom.Element) -> Iterator[tuple[str, dom.Element]]:
    """Each button of a form that posts, with the endpoint that it posts to."""
    routes = gate.app.url_map.bind("localhost")
    for button in page.all("button"):
        form = next((element for element in button.and_above() if element.tag == "form"), None)
        if form is not None and button.get("formmethod", form.get("method")) == "post":
            address = button.get("formaction", form["action"]).partition("?")[0]
            yield routes.match(address, method="POST")[0], button


@pytest.mark.parametrize("caller", ["viewer", "agent", "narrow", "operator", "admin"])
def test_a_page_offers_its_caller_only_what_the_server_accepts(gate: Gate, caller: str) -> None:
    for seed in (gate.proposal, gate.agent, gate.alert, gate.deleted_run, gate.idle_branch):
        seed()
    for order in (gate.request_of, gate.launch_of):
        order("nobody")
    for endpoint in [name for name in ROUTES if ROUTES[name][::2] == ("GET", "look")]:
        answer = gate.open(endpoint, caller)
        page = dom.parse(answer.text if answer.mimetype == "text/html" else "")
        for target, button in posting_buttons(gate, page):
            where, words = (endpoint, target, button.label), button.get("title") + page.text
            if any("disabled" in element.attributes for element in button.and_above()):
                assert re.search(REFUSALS, words), where
            else:
                assert caller in MAY[ROUTES[target][2]], where
