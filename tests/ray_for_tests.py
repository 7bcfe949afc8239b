"""A Ray of one node for tests: its processes run in a folder of their own, and are stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS = 120.0
CPUS = 6


@dataclass(frozen=True)
class Ray:
    """A running Ray; its job API is at ``address``."""

    address: str

    def client(self) -> Any:
        """A client of the job API."""
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.address)

    def jobs(self) -> list[str]:
        """The ids of all jobs that there have been."""
        return [job.submission_id for job in self.client().list_jobs()]


@contextmanager
def running() -> Iterator[Ray]:
    """Start a Ray, and stop it with all of its jobs at the end of the block."""
    port = _free_port()
    # A socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        output = Path(folder) / "output"
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--port=0", f"--num-cpus={CPUS}", f"--temp-dir={folder}/ray"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--disable-usage-stats"),
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            *(f"--ray-client-server-port={_free_port()}", "--object-store-memory=100000000"),
        ]
        variables = {n: v for n, v in os.environ.items() if not n.startswith(("RAY_", "PYTEST"))}
        with open(output, "wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=variables,
                start_new_session=True,
            )
        try:
            cluster = Ray(f"http://127.0.0.1:{port}")
            _wait_until_up(cluster, process, output)
            yield cluster
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


def _wait_until_up(cluster: Ray, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        with suppress(Exception):
            cluster.client().list_jobs()
            return
        is_in_time = process.poll() is None and time.monotonic() < deadline
        assert is_in_time, output.read_text(errors="replace")[-4000:]
        time.sleep(0.5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    began = time.monotonic()
    with running() as started:
        print(f"ready in {time.monotonic() - began:.1f} s: {started.address}", flush=True)
        if "--wait" in sys.argv:
            signal.pause()
