"""What each role may do, and what a token may be limited to."""

from __future__ import annotations

import pytest

from branchtrack.core import actors
from branchtrack.core.actors import ROLES, Actor
from branchtrack.errors import Forbidden, InvalidInput, RateLimited


@pytest.mark.parametrize(
    ("role", "deeds"),
    [
        ("viewer", set()),
        ("operator", {"request", "launch", "cancel"}),
        ("agent", {"request", "launch", "cancel"}),
        ("admin", {"request", "launch", "cancel", "tokens"}),
        ("no such role", set()),
    ],
)
def test_a_role_may_do_what_the_table_has_and_no_more(role: str, deeds: set[str]) -> None:
    allowed = set()
    for deed in ("request", "launch", "cancel", "tokens", "no such deed"):
        try:
            actors.check(Actor("ada", role), deed)
        except Forbidden as error:
            assert (error.role, error.safe) == (role, "Nothing was changed.")
        else:
            allowed.add(deed)
    assert allowed == deeds


def test_a_refusal_names_the_role_that_would_do() -> None:
    with pytest.raises(Forbidden, match="--role operator"):
        actors.check(Actor("ada", "viewer"), "request")
    with pytest.raises(Forbidden, match="--role admin"):
        actors.check(Actor("ada", "operator"), "tokens")


def test_a_token_is_for_the_names_that_its_patterns_match() -> None:
    actor = Actor("bot", "agent", token_id="t", only=["lr", "aug_*"])
    actors.check(actor, "request", ["lr", "aug_noise"])
    with pytest.raises(Forbidden, match="not for weight_decay") as caught:
        actors.check(actor, "request", ["lr", "weight_decay"])
    assert "lr, aug_*" in caught.value.fix


def test_a_token_for_no_name_at_all_changes_nothing() -> None:
    with pytest.raises(Forbidden):
        actors.check(Actor("bot", only=[]), "request", ["lr"])


@pytest.mark.parametrize("reason", ["", "  ", "...", "—"])
def test_an_agent_alone_needs_a_reason_with_a_letter_or_digit(reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        actors.check_reason(Actor("bot", "agent"), reason)
    assert caught.value.field == "reason"
    for role in set(ROLES) - {"agent"}:
        actors.check_reason(Actor("ada", role), reason)
    actors.check_reason(Actor("bot", "agent"), "…7")


def test_an_agent_alone_is_kept_from_what_others_made() -> None:
    for actor in (Actor("ann", "operator"), Actor("ann", "admin")):
        actors.check_author(actor, "somebody", "order launch a1b2", "launches")
    agent = Actor("helper", "agent")
    actors.check_author(agent, agent.label, "order launch a1b2", "launches")
    with pytest.raises(Forbidden, match="did not order launch a1b2") as refusal:
        actors.check_author(agent, "somebody", "order launch a1b2", "launches")
    assert refusal.value.fix == "An agent can cancel its own launches."


def test_a_limit_is_reached_with_the_last_request_that_it_allows() -> None:
    actor = Actor("bot", limit=2)
    actors.check_limit(actor, 1)
    with pytest.raises(RateLimited) as caught:
        actors.check_limit(actor, 2)
    assert caught.value.limit == 2
    actors.check_limit(Actor("ada"), 10**6)


def test_a_record_says_where_an_actor_came_from() -> None:
    assert actors.of("ada").label == "ada"
    assert Actor("ada", channel="web").label == "ada (web)"
    assert Actor("bot", "agent", "api", token_id="t").label == "bot (agent)"
