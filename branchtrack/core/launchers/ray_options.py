"""Options of a job on Ray: where its cluster is, and the resources of its entrypoint.

Pure values: it knows no client of Ray's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from branchtrack.errors import InvalidInput
from branchtrack.redaction import REDACTED

FIELD = "ray options"
_ADDRESS = re.compile(r"https?://[^/\s@?#]+(/[^\s@?#]*)?")
#: A user and a password in an address, up to the last sign that can end them.
_USER = re.compile(r"(?<=//)\S*@")

_MEMORY = re.compile(r"(\d{1,15})([KMGT]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_RESOURCES = re.compile(r"[\w.:/-]+=[0-9.]+(,[\w.:/-]+=[0-9.]+)*")
_MOST = 1e6


@dataclass(frozen=True)
class RayOptions:
    """What the options of a job say; ``memory`` is in bytes, ``resources`` numbers by name."""

    address: str = ""
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    def entrypoint(self) -> dict[str, Any]:
        """Return the resources that are asked for, as the job API names them."""
        named = {
            "entrypoint_num_cpus": self.num_cpus,
            "entrypoint_num_gpus": self.num_gpus,
            "entrypoint_memory": self.memory,
            "entrypoint_resources": dict(self.resources) or None,
        }
        return {name: value for name, value in named.items() if value is not None}


def valid_address(text: str) -> str:
    """Return the address of a job API, without a slash at its end.

    Raises:
        InvalidInput: it is none, or has a password, which would be shown with the launch.
    """
    return _address("--address", text)


def parsed(options: Sequence[str]) -> RayOptions:
    """Return what options say, each ``--name=value``; of several of a name the last counts.

    Raises:
        InvalidInput: one is not known, or its value cannot be read.
    """
    values: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if name not in _READERS:
            raise InvalidInput(FIELD, option, _ALLOWED)
        if not equals:
            raise InvalidInput(FIELD, option, f"{name}=VALUE")
        values[name.lstrip("-").replace("-", "_")] = _READERS[name](name, text)
    return RayOptions(**values)


def with_address(options: Sequence[str], address: str) -> list[str]:
    """Return options that name the cluster, which a variable had named."""
    if parsed(options).address or not address:
        return list(options)
    return [f"--address={address}", *options]


def _address(name: str, text: str) -> str:
    if not _ADDRESS.fullmatch(text) or not _has_port(text):
        allowed = (
            "the http(s) address of Ray's dashboard without a user, as http://HOST:8265, with a "
            "port from 1 to 65535"
        )
        raise InvalidInput(FIELD, f"{name}={_USER.sub(f'{REDACTED}@', text)}", allowed)
    return text.rstrip("/")


def _has_port(address: str) -> bool:
    """Return whether the port of an address can be one, or none is given."""
    try:
        return urlsplit(address).port != 0
    except ValueError:
        return False


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST:
        allowed = f"a number from 0 to {_MOST:,.0f}, such as 2 or 0.5"
        raise InvalidInput(FIELD, f"{name}={text}", allowed)
    return int(value) if value.is_integer() else value


def _memory(name: str, text: str) -> int:
    matched = _MEMORY.fullmatch(text)
    if matched is None:
        allowed = "bytes, or a number with K, M, G or T, such as --memory=8G"
        raise InvalidInput(FIELD, f"{name}={text}", allowed)
    return int(matched[1]) * _UNITS[matched[2]]


def _resources(name: str, text: str) -> dict[str, float]:
    if not _RESOURCES.fullmatch(text):
        allowed = "names and numbers, such as --resources=big_disk=1,tpu=4"
        raise InvalidInput(FIELD, f"{name}={text}", allowed)
    pairs = (pair.partition("=") for pair in text.split(","))
    return {resource: _number(f"{name}={resource}", number) for resource, _, number in pairs}


_READERS: dict[str, Callable[[str, str], Any]] = {
    "--address": _address,
    "--num-cpus": _number,
    "--num-gpus": _number,
    "--memory": _memory,
    "--resources": _resources,
}
_ALLOWED = ", ".join(_READERS)
