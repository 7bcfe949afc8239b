from __future__ import annotations

import socket

import pytest
import torch.distributed as dist

from branchtrack.errors import InvalidInput
from branchtrack.training.session.ranks import connection
from tests.training.groups import group_of_one


def test_a_process_on_its_own_has_no_channel_and_no_setting() -> None:
    assert connection.connect() is None
    assert connection.settings() == {}
    assert connection.world_size() == 1


def test_a_group_of_one_is_a_setting_and_has_no_channel() -> None:
    with group_of_one():
        assert connection.settings() == {"world_size": 1}
        assert connection.connect() is None


def test_several_processes_that_are_no_group_yet_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInput, match="init_process_group") as caught:
        connection.connect()
    assert caught.value.facts["field"] == "WORLD_SIZE"


def test_each_training_of_a_group_has_messages_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with group_of_one():
        monkeypatch.setattr(connection, "world_size", lambda: 2)
        monkeypatch.setattr(dist, "get_world_size", lambda: 2)
        first, second = connection.connect(), connection.connect()
    assert first is not None and second is not None
    first.post("word", 1)
    assert (first.peek("word"), second.peek("word")) == (1, None)
    assert first.size == 2


def test_another_number_of_processes_than_declared_is_refused_with_the_way() -> None:
    connection.check_size({})
    connection.check_size({"world_size": 1})
    with pytest.raises(InvalidInput, match=r"--set world_size=1"):
        connection.check_size({"world_size": 2})


def test_processes_that_restart_find_each_other_at_a_free_port() -> None:
    group = connection.next_group()
    assert group["TORCHELASTIC_USE_AGENT_STORE"] == "False"
    with socket.socket() as free:
        free.bind(("127.0.0.1", int(group["MASTER_PORT"])))
