"""A recorder on PostgreSQL is told of requests, and looks by itself while it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from branchtrack import control
from branchtrack.db.notices import listener
from branchtrack.db.notices.listener import Listener
from branchtrack.training.record import intervals
from tests.db.notices.ears import listening
from tests.training.benches import Bench
from tests.training.homes import Home


@pytest.fixture
def listening_bench(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """A recorder on PostgreSQL that looks by itself once in ten minutes while it listens."""
    monkeypatch.setattr(intervals, "LISTENING_POLL_SECONDS", 600.0)
    monkeypatch.setattr(listener, "FIRST_DELAY", 0.05)
    made = Bench(Home(tmp_path, postgres))
    with listening(made.database, "until it does"):
        yield made
    if not made.closed:
        made.close()
    made.database.close()
    made.home.close()


def test_a_training_is_told_of_a_request_and_of_its_cancellation(listening_bench: Bench) -> None:
    inbox = listening_bench.recorder.inbox
    listening_bench.recorder.look()
    request = control.submit(listening_bench.database, "tiny", {"kind": "checkpoint"}, actor="me")
    listening_bench.wait(lambda: inbox.pending)
    assert [each.id for each in inbox.pending] == [request.id]
    control.cancel(listening_bench.database, request.id, actor="me")
    listening_bench.wait(lambda: not inbox.pending)
    listening_bench.wait(lambda: listening_bench.home.request(request.id).state == "cancelled")


def test_a_training_whose_listening_the_server_ends_looks_by_itself_and_listens_again(
    listening_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, inbox, connect = listening_bench, listening_bench.recorder.inbox, Listener._connect
    is_refused = True

    def refuse(self: Listener) -> Any:
        if is_refused:
            raise OSError("refused")
        return connect(self)

    monkeypatch.setattr(Listener, "_connect", refuse)
    live = bench.database.subscribe("whether it is")
    bench.wait(lambda: live.is_live)
    with bench.database.transaction() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "application_name = 'branchtrack listening' AND datname = current_database()"
            )
        )
    bench.wait(lambda: not live.is_live)
    first = control.submit(bench.database, "tiny", {"kind": "checkpoint"}, actor="me")
    bench.wait(lambda: [each.id for each in inbox.pending] == [first.id])
    is_refused = False
    bench.wait(lambda: live.is_live)
    second = control.submit(bench.database, "tiny", {"kind": "checkpoint"}, actor="me")
    bench.wait(lambda: [each.id for each in inbox.pending] == [first.id, second.id])
    assert bench.close() == []
    live.release()
