"""TF Serving's JSON for tensors, to and from numpy (its util/json_tensor.cc).

Rows: `instances` in, `predictions` out, an item at a time. Columns: `inputs` in, `outputs`
out, a tensor at a time.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.standin.servable import Arrays, Signature
from serving.standin.status import invalid

_JSON_TYPES: Final = {
    type(None): "Null",
    bool: "Boolean",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_TOLD_CHARACTERS: Final = 200


def parse(body: bytes) -> dict[str, Any]:
    """The request's JSON object. NaN and Infinity are numbers. Raises INVALID_ARGUMENT."""
    try:
        request = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_told(request)} Is not object")
    return request


def signature_name(request: Mapping[str, Any]) -> str:
    """The signature that a request names, or "". Raises INVALID_ARGUMENT."""
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_told(request)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def read_inputs(request: Mapping[str, Any], signature: Signature) -> tuple[Arrays, bool]:
    """The input tensors of a request, and whether it has the row format.

    Raises INVALID_ARGUMENT for what does not fit the format or the signature's dtypes.
    """
    if "instances" in request and "inputs" in request:
        raise invalid(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" in request:
        return _from_rows(request["instances"], signature), True
    if "inputs" in request:
        return _from_columns(request["inputs"], signature), False
    raise invalid("Missing 'inputs' or 'instances' key")


def write_outputs(outputs: Mapping[str, npt.NDArray[Any]], rows: bool) -> bytes:
    """The answer's JSON, with `NaN`, `Infinity` and `-Infinity` as numbers.

    Floats have the digits of their dtype. A single output goes without its name. Strings
    are base64 objects where the output's name ends in `_bytes`, else the text as it is.
    """
    columns = {name: _plain(name, outputs[name]) for name in sorted(outputs)}
    answer: Any
    if not rows:
        answer = {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    elif len(columns) == 1:
        answer = {"predictions": next(iter(columns.values()))}
    else:
        items = zip(*columns.values(), strict=True)
        answer = {"predictions": [dict(zip(columns, item, strict=True)) for item in items]}
    return json.dumps(answer, ensure_ascii=False).encode(errors="surrogateescape")


def _from_rows(instances: Any, signature: Signature) -> Arrays:
    if not isinstance(instances, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    names = sorted(signature.inputs)
    named = _is_named(instances[0])
    if not named and len(names) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input "
            "tensors required as per tensorinfo_map"
        )
    for item, instance in enumerate(instances):
        if _is_named(instance) != named:
            expected = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {item} of input list")
        if named and instance.keys() != signature.inputs.keys():
            raise invalid(
                f"Failed to process element: {item} of 'instances' list. JSON object: "
                f"{_told(instance)} keys must be equal to: {','.join(names)}"
            )
    return {
        name: _tensor([row[name] for row in instances] if named else instances, name, signature)
        for name in names
    }


def _from_columns(inputs: Any, signature: Signature) -> Arrays:
    if not _is_named(inputs):
        if len(signature.inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input "
                "tensors required as per tensorinfo_map"
            )
        inputs = {next(iter(signature.inputs)): inputs}
    for name in sorted(signature.inputs):
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(inputs[name], name, signature) for name in signature.inputs}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _tensor(value: Any, name: str, signature: Signature) -> npt.NDArray[Any]:
    """The dense tensor of a value, a list, a list of lists…, all of one shape."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves = [value]
    for level, size in enumerate(shape):
        for part in leaves:
            if not isinstance(part, list):
                raise invalid(
                    f"JSON Value: {_told(part)} found at incorrect level: {level} "
                    f"in the JSON DOM. Expected at level: {len(shape)}"
                )
            if len(part) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(part)} at level: {level} "
                    f"expected size: {size}"
                )
        leaves = list(itertools.chain.from_iterable(leaves))
    dtype = tf.dtypes.as_dtype(signature.inputs[name].dtype)
    return _values(leaves, dtype).reshape(shape)


def _values(leaves: list[Any], dtype: tf.DType) -> npt.NDArray[Any]:
    if dtype == tf.string:
        strings = np.empty(len(leaves), object)
        strings[:] = [_bytes(leaf) for leaf in leaves]
        return strings
    if dtype.is_bool:
        expected: tuple[type, ...] = (bool,)
    elif dtype.is_integer:
        expected = (int,)
    elif dtype in (tf.float32, tf.float64):
        expected = (int, float)
    else:
        raise invalid(f"Conversion of JSON values to type: {dtype.name} is not supported")
    for leaf in leaves:
        if type(leaf) not in expected:
            raise _type_error(leaf, dtype.name)
    try:
        wide = np.array(leaves, np.float64 if dtype.is_floating else dtype.as_numpy_dtype)
    except OverflowError as error:
        raise invalid(f"a JSON number is out of the range of {dtype.name}: {error}") from error
    with np.errstate(over="ignore"):
        array: npt.NDArray[Any] = wide.astype(dtype.as_numpy_dtype)
    if dtype.is_floating and np.any(np.isinf(array) & np.isfinite(wide)):
        raise invalid(f"Cannot convert a JSON value to {dtype.name} without loss of precision.")
    return array


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        try:
            return leaf.encode()
        except UnicodeEncodeError as error:
            raise invalid(f"JSON Parse error: {error.reason} in a string") from error
    if not isinstance(leaf, dict):
        raise _type_error(leaf, "string")
    if not _is_base64(leaf):
        raise invalid(f"JSON Value: {_told(leaf)} not formatted correctly for base64 data")
    text = leaf["b64"]
    try:
        # As absl's decoder takes it: with or without its padding.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _type_error(leaf: Any, expected: str) -> Exception:
    return invalid(
        f"JSON Value: {_told(leaf)} Type: {_JSON_TYPES[type(leaf)]} "
        f"is not of expected type: {expected}"
    )


def _told(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _TOLD_CHARACTERS else text[:_TOLD_CHARACTERS] + "…"


def _plain(name: str, array: npt.NDArray[Any]) -> Any:
    """Nested lists of what JSON knows."""
    if not array.size:
        return array.tolist()
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        flat: list[Any] = [_text(value, as_bytes) for value in array.ravel().tolist()]
        return _nested(flat, array.shape)
    if array.dtype.kind == "f":
        # The shortest text that gives the float back: 0.2, where a double would be 0.200000003.
        return _nested([float(str(value)) for value in array.ravel()], array.shape)
    return array.tolist()


def _text(value: bytes, as_bytes: bool) -> Any:
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="surrogateescape")


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    for size in reversed(shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)]
    return flat if shape else flat[0]
