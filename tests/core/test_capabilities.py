"""What a process offers beyond settings, and requests for what it does not offer."""

from __future__ import annotations

import json

import pytest

from branchtrack.core import capabilities
from branchtrack.core.capabilities import Action, Capabilities
from branchtrack.core.settings import Setting
from branchtrack.errors import InvalidInput

RELABEL = Action(
    "relabel", "Label again.", [Setting("threshold"), Setting("rounds", dtype="int")], {"rounds": 3}
)
OFFERS = Capabilities({"relabel": RELABEL}, ["encoder", "encoder.weight", "head"], False)


def test_what_is_offered_comes_back_from_its_json() -> None:
    offers = capabilities.read(json.loads(json.dumps(OFFERS.as_dict())))
    assert (offers.modules, offers.evaluates) == (OFFERS.modules, False)
    action = offers.action("relabel")
    assert action.about == "Label again."
    assert action.validate({"threshold": "0.5"}) == {"threshold": 0.5, "rounds": 3}


def test_a_process_that_declared_nothing_offers_an_evaluation_alone() -> None:
    assert capabilities.read({}) == Capabilities()
    assert Capabilities().evaluates and Capabilities().modules is None


def test_an_argument_that_was_given_is_used_instead_of_its_default() -> None:
    arguments = {"threshold": 1, "rounds": "5"}
    assert RELABEL.validate(arguments) == {"threshold": 1.0, "rounds": 5}
    assert RELABEL.validate({"threshold": 1})["rounds"] == 3


def test_a_missing_and_an_unknown_argument_are_named() -> None:
    with pytest.raises(InvalidInput, match="relabel needs threshold"):
        RELABEL.validate({})
    with pytest.raises(InvalidInput, match="rounds, threshold") as caught:
        RELABEL.validate({"threshold": 1, "speed": 2})
    assert caught.value.field == "arguments.speed"
    with pytest.raises(InvalidInput, match="it has no parameters"):
        Action("bare").validate({"speed": 2})


def test_an_unknown_action_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="Allowed: relabel"):
        OFFERS.action("explode")
    with pytest.raises(InvalidInput, match="registered no actions"):
        Capabilities().action("explode")


def test_every_pattern_has_to_match_a_module() -> None:
    OFFERS.check_modules("encoder.*, head")
    with pytest.raises(InvalidInput, match="such as encoder, head") as caught:
        OFFERS.check_modules("head, decoder.*")
    assert caught.value.value == "decoder.*"
    with pytest.raises(InvalidInput, match="separated by commas"):
        OFFERS.check_modules(" , ")


def test_modules_that_are_too_many_to_list_are_not_judged() -> None:
    Capabilities(modules=None).check_modules("anything")
