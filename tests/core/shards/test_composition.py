"""Compositions: their value and document, and how shards are added, removed and reweighted."""

from __future__ import annotations

from typing import Any

import pytest

from branchtrack.core.shards import composition
from branchtrack.core.shards.composition import Composition, Shard
from branchtrack.errors import InvalidInput

CODE = Shard("code", 1.0, "a" * 64, 100, "/data/code.txt")
PROSE = Shard("prose", 3.0, "b" * 64, 300)
CHAT = Shard("chat", None, "c" * 64, 50)
BOTH = Composition((CODE, PROSE))


def test_a_value_names_shards_weights_and_the_document() -> None:
    assert BOTH.value == f"code:1 prose:3 @{BOTH.digest[:16]}"
    assert composition.reference(BOTH.value) == BOTH.digest[:16]
    assert composition.reference("code:1") is None and composition.reference(None) is None
    assert Composition.read(BOTH.document) == BOTH
    assert Composition((CHAT,)).value.startswith("chat @")


def test_a_value_with_many_shards_counts_them() -> None:
    many = Composition(tuple(Shard(f"s{n}", None, f"{n:064x}", 1) for n in range(40)))
    assert many.value == f"40 shards @{many.digest[:16]}"


def test_other_content_place_or_weight_is_another_composition() -> None:
    others = [
        Composition((CODE, Shard("prose", 3.0, "d" * 64, 300))),
        Composition((CODE, Shard("prose", 2.0, "b" * 64, 300))),
        Composition((CODE, Shard("prose", 3.0, "b" * 64, 300, "/elsewhere"))),
        Composition((PROSE, CODE)),
    ]
    assert len({BOTH.digest, *(other.digest for other in others)}) == 5


def test_a_shard_without_a_weight_gets_the_mean_of_those_that_were_chosen() -> None:
    assert BOTH.changed({"chat": CHAT}).shards[2].weight == 2.0
    by_size = Composition((Shard("code", None, "a" * 64, 100),))
    assert by_size.changed({"chat": CHAT}).shards[1].weight is None
    assert by_size.changed({"chat": CHAT}).shards[1].effective_weight == 50


def test_once_a_weight_is_chosen_the_others_stay_what_they_were() -> None:
    by_size = Composition((Shard("code", None, "a" * 64, 100), CHAT))
    assert [s.weight for s in by_size.changed({}, weights={"chat": 7}).shards] == [100.0, 7.0]


def test_a_removal_comes_first_so_that_a_shard_can_be_replaced() -> None:
    new = Shard("code", None, "e" * 64, 10)
    changed = BOTH.changed({"code": new}, ["code"], {"code": 5})
    assert [(s.name, s.weight, s.fingerprint[0]) for s in changed.shards] == [
        ("prose", 3.0, "b"),
        ("code", 5.0, "e"),
    ]


@pytest.mark.parametrize(
    ("change", "field", "allowed"),
    [
        ({"add": {}}, "data", "add, remove, weights"),
        ({"add": {}, "remove": ["chat"]}, "remove.chat", "code, prose"),
        ({"add": {"code": CODE}}, "add.code", "a name that no other shard has"),
        ({"add": {"a b": CHAT}}, "add.a b", "letters"),
        ({"add": {}, "weights": {"chat": 1}}, "weights.chat", "code, prose"),
        ({"add": {}, "remove": ["code"], "weights": {"code": 1}}, "weights.code", "not removed"),
        ({"add": {}, "weights": {"code": -1}}, "weights.code", "0 to 1e\\+09"),
        ({"add": {}, "weights": {"code": float("nan")}}, "weights.code", "0 to 1e\\+09"),
        ({"add": {}, "remove": ["code", "prose"]}, "data.shards", "greater than 0"),
        ({"add": {}, "weights": {"code": 0, "prose": 0}}, "data.shards", "greater than 0"),
    ],
)
def test_a_change_that_cannot_be_names_the_shard(
    change: dict[str, Any], field: str, allowed: str
) -> None:
    with pytest.raises(InvalidInput, match=allowed) as refusal:
        BOTH.changed(**change)
    assert refusal.value.field == field


def test_too_many_shards_are_refused() -> None:
    shard = Shard("s", None, "a" * 64, 1)
    with pytest.raises(InvalidInput, match="10,000"):
        composition.checked(Composition((shard,) * 10_001))


def test_typed_weights_are_numbers_within_their_bounds() -> None:
    assert composition.parse_weights({"code": "0.5", "prose": "2"}) == {"code": 0.5, "prose": 2.0}
    for text in ("-1", "nan", "much", "1e10"):
        with pytest.raises(InvalidInput, match="weights.code"):
            composition.parse_weights({"code": text})


def test_weights_are_changed_by_a_relative_value() -> None:
    named = composition.relative_to("code:2 -prose", BOTH.value)
    assert named == f"code:2 -prose of @{BOTH.digest[:16]}"
    assert composition.is_relative(named) and not composition.is_relative(BOTH.value)
    assert composition.reference(named) == BOTH.digest[:16]
    after = composition.changed_by(named, BOTH)
    assert [(shard.name, shard.weight) for shard in after.shards] == [("code", 2.0)]
    again = composition.relative_to("code:3", named)
    assert composition.changed_by(again.replace("code:3", ""), BOTH) == after and again.startswith(
        "code:2 -prose code:3 of @"
    )
    assert composition.relative_to(named, "x") == named


@pytest.mark.parametrize("value", ["code", "code:much", "-", "code:1 what", ":3"])
def test_a_relative_value_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        composition.changed_by(value, BOTH)
