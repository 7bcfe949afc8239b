"""Conversion of training state to tensors and JSON and back, without pickle.

It is the one module here that knows torch. Anything in a ``state_dict`` (tensors, arrays, numbers,
text, containers of these) is encoded as JSON in which a tensor is a reference by name. Everything
is decoded as it was, except that containers become their plain kind (a named tuple a tuple). It
knows no model and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch

from branchtrack.checkpoints import scalars
from branchtrack.checkpoints.manifest import TensorBytes
from branchtrack.errors import CheckpointMismatch, shown

#: torch's dtypes in safetensors' spelling.
DTYPES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
}
_BY_NAME = {name: dtype for dtype, name in DTYPES.items()}
_TAG = scalars.TAG


def to_bytes(name: str, tensor: torch.Tensor) -> TensorBytes:
    """Return a view of a contiguous host tensor's little-endian bytes, without a copy."""
    flat = tensor.detach().reshape(-1).view(torch.uint8).numpy()
    return TensorBytes(name, dtype_name(name, tensor), tuple(tensor.shape), flat.data)


def from_bytes(dtype: str, shape: tuple[int, ...], data: bytearray) -> torch.Tensor:
    """Return a host tensor over ``data``, which it then owns."""
    if not data:
        return torch.empty(shape, dtype=_BY_NAME[dtype])
    return torch.frombuffer(data, dtype=_BY_NAME[dtype]).reshape(shape)


def dtype_of(name: str) -> torch.dtype:
    """Return torch's dtype of safetensors' name."""
    return _BY_NAME[name]


def dtype_name(name: str, tensor: torch.Tensor) -> str:
    """Return safetensors' name of a tensor's dtype.

    Raises:
        CheckpointMismatch: the tensor is sparse, quantised or complex.
    """
    if tensor.layout is not torch.strided or tensor.dtype not in DTYPES:
        raise CheckpointMismatch(
            f"{name} is a {tensor.layout} tensor of {tensor.dtype}, which cannot be stored.",
            safe="Training continues; no node was committed.",
            fix="Keep such tensors out of the state, or convert them to dense ones.",
            field=name,
            expected="a dense tensor",
            found=str(tensor.dtype),
        )
    return DTYPES[tensor.dtype]


def encode(value: Any, path: str, tensors: MutableMapping[str, torch.Tensor]) -> Any:
    """Return ``value`` as JSON; its tensors are added to ``tensors`` under names below ``path``.

    Raises:
        CheckpointMismatch: an object is neither plain data nor a tensor that can be stored.
    """
    if isinstance(value, torch.Tensor):
        return {_TAG: "tensor", "name": _add(value, path, tensors)}
    if isinstance(value, np.ndarray):
        return {_TAG: "array", "name": _add(_from_array(value, path), path, tensors)}
    coded = None if value is None else scalars.encode(value)
    if coded is not None or value is None:
        return coded
    if isinstance(value, Mapping):
        return _encode_mapping(value, path, tensors)
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = next((kind for kind in (tuple, set, frozenset) if isinstance(value, kind)), list)
        items = value if kind in (list, tuple) else _in_order(value)
        parts = [encode(item, f"{path}/{index}", tensors) for index, item in enumerate(items)]
        return parts if kind is list else {_TAG: kind.__name__, "items": parts}
    raise _refused(value, path)


def decode(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return the value that ``encode`` was given."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind is None:
        return {key: decode(item, tensors) for key, item in value.items()}
    if kind == "tensor":
        return tensors[value["name"]]
    if kind == "array":
        return tensors[value["name"]].numpy()
    if scalars.is_known(kind):
        return scalars.decode(value)
    return _CONTAINERS[kind]([decode(item, tensors) for item in value["items"]])


def _add(tensor: torch.Tensor, path: str, tensors: MutableMapping[str, torch.Tensor]) -> str:
    """Return the name a tensor is stored under: ``path``, unless other keys gave the same one."""
    dtype_name(path, tensor)
    name, number = path, 2
    while name in tensors:
        name, number = f"{path}~{number}", number + 1
    tensors[name] = tensor
    return name


def _from_array(value: np.ndarray[Any, Any], path: str) -> torch.Tensor:
    try:
        # Only what is read-only or not in C order is copied.
        return torch.from_numpy(np.require(value, requirements=["C", "W"])).reshape(value.shape)
    except (TypeError, ValueError) as error:
        raise _refused(value, path) from error


def _in_order(items: Collection[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)


def _refused(value: Any, path: str) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"{path} is a {type(value).__name__}, which is neither plain data nor a tensor.",
        safe="Training continues; no node was committed.",
        fix="Keep it out of the state_dict, or give its class a state_dict of plain values.",
        field=path,
        expected="plain data",
        found=shown(value),
    )


def _encode_mapping(
    value: Mapping[Any, Any], path: str, tensors: MutableMapping[str, torch.Tensor]
) -> Any:
    if isinstance(value, Counter) or _TAG in value or any(type(k) is not str for k in value):
        kind = "counter" if isinstance(value, Counter) else "dict"
        pairs = [
            {_TAG: "tuple", "items": [encode(k, path, tensors), encode(v, f"{path}/{k}", tensors)]}
            for k, v in value.items()
        ]
        return {_TAG: kind, "items": pairs}
    return {key: encode(item, f"{path}/{key}", tensors) for key, item in value.items()}


_CONTAINERS: dict[Any, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "counter": lambda items: Counter(dict(items)),
    "dict": dict,
}
