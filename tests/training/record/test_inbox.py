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
