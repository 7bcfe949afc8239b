"""`serve` and `worker` as real processes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from branchtrack.config import Config
from branchtrack.core.records import Node
from tests.cli.conftest import Call
from tests.trees_for_tests import Tree

ROOT = Path(__file__).parents[2]


@contextmanager
def started(config: Config, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "branchtrack", "--home", str(config.home), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Serving http://127.0.0.1:")
    return line.split()[1]


def test_the_printed_address_opens_the_pages_and_ctrl_c_ends_them(sqlite_config: Config) -> None:
    with started(sqlite_config, "serve", "--port", "0") as process:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address(process), timeout=60) as page:
            assert b"<h1" in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_a_port_in_use_is_told_with_the_next_one(sqlite_config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(sqlite_config, "serve", "--port", str(port)) as process:
            out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == "" and f"--port {port + 1}" in err


def test_a_worker_with_nothing_to_do_ends_when_asked_to_look_once(sqlite_config: Config) -> None:
    with started(sqlite_config, "worker", "--once") as process:
        assert process.wait(60) == 0


def test_a_server_behind_a_proxy_needs_a_token(call: Call) -> None:
    for option in (["--proxy"], ["--trusted-host", "runs.example.org"]):
        answer = call("serve", "--no-token", *option)
        assert answer.code == 2 and "steer" in answer.err


def test_the_path_is_part_of_the_printed_address(sqlite_config: Config) -> None:
    more = ["--url-prefix", "bt", "--proxy", "--trusted-host", "runs.example.org", "--no-worker"]
    with started(sqlite_config, "serve", "--port", "0", *more) as process:
        shown = address(process)
        assert "/bt/?token=" in shown
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(shown, timeout=60) as page:
            assert b'href="/bt/static/app.css"' in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_a_protocol_for_a_branch_that_is_missing_is_refused(
    call: Call, forked: tuple[Tree, list[Node]]
) -> None:
    refused = call("serve", "--port", "0", "--no-worker", "--protocol", "demo/nowhere")
    assert refused.code == 2 and "demo/main" in refused.err
