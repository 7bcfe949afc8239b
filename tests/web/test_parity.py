"""One definition of what is valid: shell, form and API refuse in the same sentence."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from branchtrack.cli.main import cli
from branchtrack.db import requests
from branchtrack.db.tables import segments
from tests.web import dom
from tests.web.conftest import Site

BRANCH = "runs/digits/branches/main"
SET: dict[str, Any] = {"kind": "set", "values": {"lr": "1e-3"}}


@pytest.fixture
def rich(own: Site) -> Site:
    """The small tree, whose process offers an action, modules and a setting that is a boolean."""
    own.lines["main"].offer()
    with own.database.transaction() as connection:
        row = connection.execute(segments.select()).one()
        known = [*row.declared, {"name": "amp", "dtype": "bool"}]
        connection.execute(segments.update().values(declared=known))
    return own


def by_shell(site: Site, body: dict[str, Any]) -> str:
    """What the shell says, its own way of asking for the same."""
    payload = dict(body)
    more = [
        text
        for name in ("not_after_step", "expires_in", "at_step", "once")
        if name in payload
        for text in (f"--{name.replace('_', '-')}", payload.pop(name))
    ]
    for name, value in payload.pop("only_if", {}).items():
        more += ["--only-if", f"{name}={value}"]
    kind = payload.pop("kind")
    given = {"set": "values", "act": "arguments"}.get(kind, "")
    words = [f"{name}={value}" for name, value in payload.get(given, {}).items()]
    words += [payload[name] for name in ("action", "modules", "node", "text") if payload.get(name)]
    words = sorted(words, key=lambda word: "=" in word)
    if "when" in payload:
        more += ["--when", payload["when"]]
    found = CliRunner().invoke(
        cli, ["--home", str(site.config.home), kind, "digits/main", *words, *more]
    )
    assert found.exit_code == 2, found.output
    return " ".join(found.stderr.removeprefix("error:").split())


def by_api(site: Site, body: dict[str, Any]) -> str:
    answer = site.client.post(f"/api/v1/{BRANCH}/requests", json=body)
    assert answer.status_code == 422 and answer.json is not None
    error = answer.json["error"]
    assert error["field"]
    return f"{error['what']} {error['safe']} {error['fix']}"


def by_form(site: Site, body: dict[str, Any]) -> str:
    form = {name: value for name, value in body.items() if isinstance(value, str)}
    form |= {f"set.{name}": value for name, value in body.get("values", {}).items()}
    form |= {f"arg.{name}": value for name, value in body.get("arguments", {}).items()}
    form |= {"only_if": "\n".join(f"{k}={v}" for k, v in body.get("only_if", {}).items())}
    answer = site.client.post(f"/{BRANCH}/steer", data=form)
    assert answer.status_code == 422
    return dom.parse(answer.get_data(as_text=True)).one(role="alert").text


def state(site: Site) -> tuple[Any, ...]:
    with site.database.read() as connection:
        found = requests.list_of_run(connection, site.lines["main"].grower.run.id)
        return connection.execute(segments.select()).all(), {one.state for one in found}


@pytest.mark.parametrize(
    "body",
    [
        *(
            {"kind": "set", "values": {"lr": bad}}
            for bad in (
                "nan",
                "inf",
                "-inf",
                "1e999",
                "false",
                "-1",
                "0",
                "101",
                "0x10",
                "1_0",
                "abc",
            )
        ),
        {"kind": "set", "values": {"amp": "1"}},
        {"kind": "set", "values": {"amp": "no"}},
        {"kind": "set", "values": {"speed": "1"}},
        {"kind": "set", "values": {"max_steps": "10"}},
        {"kind": "set", "values": {"lr": "1e-3", "dropout": "2"}},
        {"kind": "set", "values": {}},
        {"kind": "freeze", "modules": ""},
        {"kind": "freeze", "modules": "nope.*"},
        {"kind": "stop", "when": "never"},
        {"kind": "act", "action": "nope", "arguments": {}},
        {"kind": "act", "action": "relabel", "arguments": {}},
        {"kind": "act", "action": "relabel", "arguments": {"threshold": "2"}},
        {"kind": "act", "action": "relabel", "arguments": {"threshold": "1", "more": "1"}},
        {"kind": "rewind", "node": "abc"},
        {**SET, "not_after_step": "3"},
        {**SET, "at_step": "3"},
        {**SET, "at_step": "999999"},
        {**SET, "once": "loss<<1"},
        {**SET, "once": "status:failed"},
        {**SET, "once": "loss<1", "at_step": "90"},
        {**SET, "not_after_step": "soon"},
        {**SET, "expires_in": "nan"},
        {**SET, "expires_in": "0"},
        {**SET, "only_if": {"speed": "1"}},
        {**SET, "only_if": {"lr": "fast"}},
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_alike_and_nothing_changes(
    rich: Site, body: dict[str, Any]
) -> None:
    before = state(rich)
    said = [way(rich, body) for way in (by_shell, by_api, by_form)]
    assert said[0] == said[1] == said[2]
    assert state(rich) == (before[0], {"rejected"})


@pytest.mark.parametrize("body", [{"kind": "explode"}, {"kind": "pause", "force": "yes"}], ids=str)
def test_what_the_shell_has_no_words_for_is_refused_alike_by_the_others(
    rich: Site, body: dict[str, Any]
) -> None:
    assert by_api(rich, body) == by_form(rich, body)
    assert state(rich)[1] == {"rejected"}


@pytest.mark.parametrize("value", [True, [], {}, None], ids=str)
def test_a_value_of_another_type_is_refused(rich: Site, value: Any) -> None:
    by_api(rich, {"kind": "set", "values": {"lr": value}})
    assert state(rich)[1] == {"rejected"}
