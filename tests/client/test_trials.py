"""Trials and reviews of a client."""

from __future__ import annotations

import pytest

from branchtrack.client.client import Client
from branchtrack.control.trials.advancing import advance
from branchtrack.errors import InvalidInput, NotFound
from tests.client.conftest import connect
from tests.control.trials import samples
from tests.web.conftest import Site

CHANGE = {"lr": "x0.5"}


def test_a_trial_is_previewed_ordered_shown_and_cancelled(own: Site, client: Client) -> None:
    node = samples.seeded(own.lines["main"]).id
    preview = client.preview_trial(node, {"lr": ["x0.5", "x3"]}, steps=5, repeats=4)
    assert (preview.steps, preview.most_steps, preview.launches) == (5, 60, 12)
    assert [*client.trials("digits")] == []
    made = client.try_change(node, CHANGE, steps=5, repeats=4, reason="flat")
    assert (made.state, made.verdict, made.reason) == ("running", "pending", "flat")
    assert [trial.id for trial in client.trials("digits")] == [made.id]
    assert client.trial(made.id[:8]) == client.trial(made.id)
    assert client.cancel_trial(made.id, "enough").error == "enough"
    with pytest.raises(InvalidInput):
        client.cancel_trial(made.id)
    with pytest.raises(NotFound):
        client.trial("ffffffff")


def test_a_winner_is_promoted_and_the_others_are_removed(own: Site, client: Client) -> None:
    node = samples.seeded(own.lines["main"]).id
    made = client.try_change(node, CHANGE, steps=5, repeats=3, metric="loss")
    with own.database.read() as connection:
        trial = samples.trials.get(connection, made.id)
    for side in (side for pair in trial.pairs for side in pair.sides):
        samples.train(own.database, own.store, side.launch if side else "", 2.0)
    advance(own.database, own.store, made.id)
    with pytest.raises(InvalidInput, match="helps"):
        client.promote(made.id, "cooler")
    kept = client.promote(made.id, "cooler", branch=samples.branches_of(trial)[1], reason="mine")
    assert (kept.run, kept.branch) == ("digits", "cooler")
    removed = client.remove_trial(made.id)
    assert (
        removed.branches == [samples.branches_of(trial)[0], *samples.branches_of(trial)[2:]]
        and client.trial(made.id).state == "failed"
    )


def test_the_changes_of_a_run_are_reviewed(own: Site, client: Client) -> None:
    assert client.review("digits").changes == []
    samples.seeded(own.lines["main"])
    (change,) = client.review("digits").changes
    assert (change.verdict, change.text) == (None, "lr 5e-3 → 1e-3")
    assert client.order_review("digits", steps=5, repeats=3, dry_run=True).steps == 30
    assert [*client.trials("digits")] == []
    ordered = client.order_review("digits", steps=5, repeats=3)
    assert ordered.untried == 0 and ordered.changes[0].verdict == "pending"
    assert len([*client.trials("digits")]) == 1


def test_settings_have_to_be_values_by_name(own: Site) -> None:
    with connect(own) as client, pytest.raises(InvalidInput):
        client.try_change("digits@40", [1])  # type: ignore[arg-type]
