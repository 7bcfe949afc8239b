"""Requests wait in order until the training thread takes them, each once."""

from __future__ import annotations

import math

from branchtrack.training.record.inbox import EndedRequest, Inbox
from tests.training.requests_for_tests import request

NOW = 1000.0


def test_each_request_is_taken_once_and_in_order() -> None:
    inbox, polled = Inbox(), [request("checkpoint", 1), request("checkpoint", 2)]
    assert inbox.receive(polled, NOW) == [] and inbox.waiting
    assert inbox.take() == polled and not inbox.waiting
    inbox.receive([*polled, request("checkpoint", 3)], NOW)
    assert inbox.take() == [request("checkpoint", 3)]


def test_a_request_that_another_process_ended_is_dropped() -> None:
    inbox = Inbox()
    inbox.receive([request("checkpoint", 1)], NOW)
    inbox.receive([], NOW)
    assert not inbox.waiting and inbox.take() == []


def test_a_stop_waits_for_its_moment() -> None:
    inbox = Inbox()
    stop = request("stop", 1, requested={"when": "epoch"})
    inbox.receive([stop], NOW)
    assert inbox.awaits == {"epoch"} and not inbox.waiting
    assert inbox.take(["checkpoint"]) == [] and inbox.pending == [stop]
    assert inbox.take(["epoch"]) == [stop] and inbox.awaits == frozenset()


def test_a_cancelled_request_is_ended_and_not_offered() -> None:
    inbox, cancelled = Inbox(), request("checkpoint", 1, cancel="ben")
    ended = inbox.receive([cancelled, request("checkpoint", 2)], NOW)
    why = "It was cancelled while it waited."
    assert ended == [EndedRequest(cancelled, "cancelled", why, "ben")]
    assert inbox.take() == [request("checkpoint", 2)]


def test_a_request_that_expires_is_ended_at_its_time() -> None:
    inbox = Inbox()
    assert inbox.next_expiry == math.inf
    late = request("checkpoint", 1, conditions={"expires_at": NOW + 1})
    assert inbox.receive([late], NOW) == [] and inbox.next_expiry == NOW + 1
    (ended,) = inbox.receive([late], NOW + 2)
    assert (ended.request, ended.state) == (late, "expired") and ended.why
    assert inbox.pending == [] and inbox.next_expiry == math.inf


def test_a_condition_that_is_not_met_expires_after_its_last_step() -> None:
    inbox = Inbox()
    assert inbox.last_step == math.inf
    late = request("checkpoint", 1, conditions={"once": "loss<0", "not_after_step": 5})
    assert inbox.receive([late], NOW, 5) == [] and inbox.last_step == 5
    (ended,) = inbox.receive([late], NOW, 6)
    why = "It was to be applied by step 5, and training is at step 6."
    assert (ended.state, ended.why, inbox.pending) == ("expired", why, [])
    assert inbox.last_step == math.inf


def test_an_interrupt_makes_the_loop_come_once() -> None:
    inbox = Inbox()
    assert not inbox.wait(0)
    inbox.interrupt()
    inbox.receive([], NOW)
    assert inbox.waiting and inbox.wait(0)
    assert inbox.take() == [] and not inbox.waiting


def test_a_note_needs_no_lock() -> None:
    inbox = Inbox()
    with inbox._changed:
        inbox.note()
    assert inbox.waiting


def test_a_request_waits_for_its_step() -> None:
    inbox, scheduled = Inbox(), request("checkpoint", 1, conditions={"at_step": 5})
    later = request("checkpoint", 2, conditions={"at_step": 7})
    inbox.receive([later, scheduled], NOW)
    assert (inbox.waiting, inbox.next_step, inbox.awaits) == (False, 5, {"step"})
    assert not inbox.is_reached(4, {}) and inbox.take([], 4, {}) == []
    assert inbox.is_reached(5, {}) and inbox.take([], 5, {}) == [scheduled]
    assert inbox.next_step == 7 and inbox.take([], 8, {}) == [later], "to be told that it is late"
    assert inbox.next_step == math.inf


def test_a_training_that_is_held_at_the_step_takes_its_request_at_once() -> None:
    inbox, scheduled = Inbox(), request("checkpoint", 1, conditions={"at_step": 5})
    inbox.take([], 5, {})
    inbox.receive([scheduled], NOW)
    assert inbox.waiting and inbox.wait(0)


def test_a_condition_is_judged_only_after_values_were_logged() -> None:
    inbox, values = Inbox(), {"loss": 1.0}
    once = request("checkpoint", 1, conditions={"once": "loss<2"})
    inbox.receive([once], NOW)
    assert inbox.awaits == {"metrics"} and not inbox.waiting
    assert not inbox.is_reached(1, {"loss": 3.0})
    assert not inbox.is_reached(2, values), "nothing was logged since"
    inbox.renew()
    assert inbox.is_reached(2, values) and inbox.is_reached(2, values), "until it is taken"
    assert inbox.take([], 2, values) == [once] and not inbox.is_reached(3, values)


def test_a_condition_that_came_is_judged_by_what_was_logged_before() -> None:
    inbox = Inbox()
    assert not inbox.is_reached(1, {"loss": 1.0})
    inbox.receive([request("checkpoint", 1, conditions={"once": "loss<2"})], NOW)
    assert inbox.is_reached(1, {"loss": 1.0})
