"""A webhook is one signed POST, which follows no redirect and takes only 2xx for an arrival."""

from __future__ import annotations

import hashlib
import hmac
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from branchtrack.control.alerts import webhook
from branchtrack.control.alerts.webhook import SIGNATURE, TIMESTAMP, Webhook
from branchtrack.errors import InvalidInput, StorageError
from tests.control.alerts.receivers import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server of this machine."""
    with receiving() as listening:
        yield listening


def test_a_payload_arrives_with_a_signature_that_its_receiver_can_check(
    receiver: Receiver,
) -> None:
    Webhook(receiver.url, "s3cret", allow_private=True).send({"text": "é", "value": math.nan})
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?key=topsecret" and headers["Content-Type"] == "application/json"
    signed = headers[TIMESTAMP].encode() + b"." + body
    expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={expected}"
    assert abs(int(headers[TIMESTAMP]) - time.time()) < 60
    assert receiver.payloads == [{"text": "é", "value": "NaN"}]
    assert headers["Host"] == receiver.url.split("/")[2]


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    Webhook(receiver.url, allow_private=True).send({})
    assert SIGNATURE not in receiver.requests[0][1]


def test_a_private_address_is_not_even_connected_to(receiver: Receiver) -> None:
    with pytest.raises(InvalidInput):
        Webhook(receiver.url).send({})
    assert receiver.requests == []


def test_an_answer_that_drips_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LONGEST", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _address = server.accept()
            with connection, suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(OSError, match="has not ended"):
                Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/", allow_private=True).send({})
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 500])
def test_another_status_than_2xx_is_no_arrival_and_no_redirect_is_followed(
    receiver: Receiver, status: int
) -> None:
    receiver.status, receiver.location = status, receiver.url
    with pytest.raises(StorageError, match=str(status)):
        Webhook(receiver.url, allow_private=True).send({})
    assert len(receiver.requests) == 1


def test_one_that_says_nothing_is_an_error_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for scheme in ("http", "https"):
            with pytest.raises(OSError):
                Webhook(f"{scheme}://127.0.0.1:{port}/", allow_private=True).send({})


def test_addresses_and_secrets_are_in_no_representation(receiver: Receiver) -> None:
    text = repr(Webhook("https://example.org/topsecret", "s3cret"))
    assert "topsecret" not in text and "s3cret" not in text
