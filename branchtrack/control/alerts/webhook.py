"""One signed POST of an alert to one URL: no redirect is followed, and no name looked up twice."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from branchtrack.control.alerts import addresses
from branchtrack.control.alerts.addresses import Target
from branchtrack.core.nonfinite import spelled
from branchtrack.errors import StorageError

#: Seconds for the connection, and for each part of the answer; for all of it together.
TIMEOUT, LONGEST = 5.0, 15.0
SIGNATURE, TIMESTAMP = "X-Branchtrack-Signature", "X-Branchtrack-Timestamp"


@dataclass(frozen=True)
class Webhook:
    """A URL that alerts are posted to; both it and the ``secret`` are kept out of all texts."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    allow_private: bool = False

    def send(self, payload: Mapping[str, Any]) -> None:
        """Post a payload as JSON.

        Raises:
            InvalidInput: the URL may not be posted to. OSError: it cannot be reached, or its answer
            does not end. StorageError: it answered with another status than 2xx.
        """
        results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

        def send() -> None:
            try:
                self._send(payload)
                results.put(None)
            except Exception as error:
                results.put(error)

        # The timeouts of sockets are for each read. A thread in which bytes go on to drip is left.
        threading.Thread(target=send, name="branchtrack webhook", daemon=True).start()
        try:
            error = results.get(timeout=LONGEST)
        except queue.Empty:
            raise OSError(f"the answer has not ended in {LONGEST:g} seconds") from None
        if error is not None:
            raise error

    def _send(self, payload: Mapping[str, Any]) -> None:
        body = json.dumps(spelled(dict(payload)), separators=(",", ":")).encode()
        timestamp = str(int(time.time()))
        target = addresses.resolve(self.url, allow_private=self.allow_private)
        headers = {
            "Host": target.host_header,
            "Content-Type": "application/json",
            "User-Agent": "branchtrack",
            TIMESTAMP: timestamp,
        }
        if self.secret:
            headers[SIGNATURE] = f"sha256={signature(self.secret, timestamp, body)}"
        connection = _connection(target)
        try:
            connection.request("POST", target.path, body, headers)
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(f"the answer is no HTTP: {type(error).__name__}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise StorageError(f"The webhook's server answered with status {status}.")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of ``timestamp.body`` in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _connection(target: Target) -> http.client.HTTPConnection:
    """Return a connection to exactly the address that was checked."""
    if target.scheme == "https":
        return _PinnedTLS(target)
    return _Pinned(target)


class _Pinned(http.client.HTTPConnection):
    def __init__(self, target: Target) -> None:
        super().__init__(target.host, target.port, timeout=TIMEOUT)
        self._target = target

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self._target.port), TIMEOUT)


class _PinnedTLS(http.client.HTTPSConnection):
    def __init__(self, target: Target) -> None:
        self._tls = ssl.create_default_context()
        super().__init__(target.host, target.port, timeout=TIMEOUT, context=self._tls)
        self._target = target

    def connect(self) -> None:
        plain = socket.create_connection((self._target.address, self._target.port), TIMEOUT)
        # The certificate is that of the name, whatever the address.
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.host)
