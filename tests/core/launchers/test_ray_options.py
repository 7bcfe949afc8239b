"""Options of jobs on Ray: resources as numbers, the address of a cluster, nothing else."""

from __future__ import annotations

import pytest

from branchtrack.core.launchers import options, profiles, ray_options
from branchtrack.errors import InvalidInput


def test_resources_are_read_as_the_job_api_names_them() -> None:
    given = ["--address=http://head:8265/", "--num-cpus", "2", "--num-gpus=0.5", "--memory=8G"]
    joined = options.checked("ray", [*given, "--resources=disk=1,tpu=0.5"])
    read = ray_options.parsed(joined)
    assert read.address == "http://head:8265"
    assert read.entrypoint() == {
        "entrypoint_num_cpus": 2,
        "entrypoint_num_gpus": 0.5,
        "entrypoint_memory": 8 << 30,
        "entrypoint_resources": {"disk": 1, "tpu": 0.5},
    }
    assert ray_options.parsed([]).entrypoint() == {}


def test_of_a_profile_and_of_an_order_the_last_word_counts() -> None:
    launcher = profiles.launcher("ray", "ray", ["--num-gpus=1", "--num-gpus=2", "--memory=1000"])
    read = ray_options.parsed(launcher["options"])
    assert (read.num_gpus, read.memory) == (2, 1000)


@pytest.mark.parametrize(
    "words",
    [
        ["--num-gpu=1"],
        ["--runtime-env=x.yaml"],
        ["-p", "main"],
        ["--num-cpus"],
        ["--num-cpus=-1"],
        ["--num-cpus=nan"],
        ["--num-cpus=two"],
        ["--memory=8GB"],
        ["--memory=-1"],
        ["--resources={}"],
        ["--resources=a=1;b=2"],
        ["--address=ray://head:10001"],
        ["--address=http://me:secret@head:8265"],
        ["--address=http://127.0.0.1:99999"],
        ["--address=http://127.0.0.1:0"],
        ["--address=http://127.0.0.1:port"],
        ["script.sh"],
    ],
)
def test_what_ray_cannot_be_asked_for_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("ray", words)
    assert caught.value.field == "ray options"


@pytest.mark.parametrize(
    "word, allowed",
    [
        ("--num-cpus=-1", "a number from 0 to 1,000,000"),
        ("--memory=8GB", "bytes, or a number with K, M, G or T"),
        ("--resources=disk=1e9", "names and numbers"),
        ("--resources=disk=9999999", "a number from 0 to 1,000,000"),
        ("--address=http://127.0.0.1:99999", "a port from 1 to 65535"),
    ],
)
def test_a_refusal_names_the_option_and_what_it_takes(word: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("ray", [word])
    assert word in caught.value.what and allowed in caught.value.allowed


@pytest.mark.parametrize("user", ["me:secret", "secret", "me:se@secret", "me:se/secret"])
def test_a_password_in_an_address_is_not_shown(user: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("ray", [f"--address=http://{user}@head:8265"])
    assert "--address=http://<redacted>@head:8265" in str(caught.value)
    assert "secret" not in str(caught.value) + str(caught.value.facts)


def test_an_unknown_option_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidInput) as caught:
        options.checked("ray", ["--gres=gpu:1"])
    named = "--address, --num-cpus, --num-gpus, --memory, --resources"
    assert caught.value.allowed == named


def test_an_address_is_added_where_none_is_named() -> None:
    assert ray_options.with_address(["--num-cpus=1"], "http://a") == [
        "--address=http://a",
        "--num-cpus=1",
    ]
    named = ["--address=http://b"]
    assert ray_options.with_address(named, "http://a") == named
    assert ray_options.with_address([], "") == []
