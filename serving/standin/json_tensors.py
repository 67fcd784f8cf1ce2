"""TF Serving's JSON for tensors, to and from numpy (its util/json_tensor.cc).

Rows (`instances` in, `predictions` out) list items; columns (`inputs` in, `outputs` out)
list tensors.
"""

import base64
import json
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.standin.servable import Arrays, Servable, Signature
from serving.standin.status import invalid
from serving.wire import parse_json

_JSON_TYPES: Final = {"NoneType": "Null", "bool": "Boolean", "dict": "Object", "str": "String"}
_ALLOWED: Final = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float)}
"""Python types of the JSON values, by the dtype's kind."""
_MAX_QUOTED_CHARACTERS: Final = 200
_WHITE_SPACE: Final = dict.fromkeys(map(ord, " \t\n\v\f\r"))


def read_request(body: bytes | bytearray, servable: Servable) -> tuple[Signature, Arrays, bool]:
    """The signature that a request means, its inputs, and whether it has the row format.

    NaN and Infinity are numbers. Raises INVALID_ARGUMENT if the body does not fit the format or
    the signature's dtypes, FAILED_PRECONDITION for an unknown signature.
    """
    try:
        request = parse_json(body)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid(f"JSON Value: {_quote(request)} Is not object")
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    signature = servable.signature(name)
    if ("instances" in request) == ("inputs" in request):
        raise invalid(
            "Missing 'inputs' or 'instances' key, or not only one of 'inputs' or 'instances'"
        )
    in_rows = "instances" in request
    if in_rows:
        columns = _columns_of_rows(request["instances"], signature)
    else:
        columns = _columns(request["inputs"], signature)
    inputs = {key: _tensor(values, key, signature) for key, values in columns.items()}
    return signature, inputs, in_rows


def write_outputs(outputs: Arrays, in_rows: bool) -> bytes:
    """The answer's JSON, with `NaN`, `Infinity` and `-Infinity` as numbers.

    Floats have the digits of their dtype. A single output is written without its name. Strings
    are base64 objects if the output's name ends in `_bytes`, else plain text.
    """
    columns = {name: _to_lists(name, outputs[name]) for name in sorted(outputs)}
    answer: Any = columns
    if len(columns) == 1:
        (answer,) = columns.values()
    elif in_rows:
        items = zip(*columns.values(), strict=True)
        answer = [dict(zip(columns, item, strict=True)) for item in items]
    answer = {"predictions" if in_rows else "outputs": answer}
    return json.dumps(answer, ensure_ascii=False).encode(errors="surrogateescape")


def _columns_of_rows(instances: Any, signature: Signature) -> dict[str, Any]:
    if not isinstance(instances, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = _is_named(instances[0])
    for item, instance in enumerate(instances):
        if _is_named(instance) != named or (named and instance.keys() != signature.inputs.keys()):
            raise invalid(
                f"Failed to process item {item} of 'instances' list: {_quote(instance)} "
                f"keys must be equal to: {','.join(sorted(signature.inputs))}"
            )
    if named:
        return {name: [row[name] for row in instances] for name in sorted(signature.inputs)}
    return _only_input(instances, signature)


def _columns(inputs: Any, signature: Signature) -> dict[str, Any]:
    columns = inputs if _is_named(inputs) else _only_input(inputs, signature)
    for name in sorted(signature.inputs):
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: columns[name] for name in signature.inputs}


def _only_input(values: Any, signature: Signature) -> dict[str, Any]:
    if len(signature.inputs) > 1:
        raise invalid("a plain value or list, but expecting objects for multiple input tensors")
    return dict.fromkeys(signature.inputs, values)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _tensor(value: Any, name: str, signature: Signature) -> npt.NDArray[Any]:
    """The dense tensor of a value or of nested lists, which must have one shape."""
    dtype = tf.as_dtype(signature.inputs[name].dtype)
    kind = np.dtype(dtype.as_numpy_dtype).kind
    try:
        leaves = np.array(value, object)
        if dtype == tf.string:
            return np.array([_bytes(leaf) for leaf in leaves.ravel()], object).reshape(leaves.shape)
        for leaf in leaves.ravel():
            if type(leaf) not in _ALLOWED.get(kind, ()):
                raise _type_error(leaf, dtype.name)
        wide = leaves.astype(np.float64 if kind == "f" else dtype.as_numpy_dtype)
    except OverflowError as error:
        raise invalid(f"a JSON number is out of the range of {dtype.name}: {error}") from error
    except ValueError as error:  # more axes than an array can have
        raise invalid(f"Encountered list at unexpected size or level: {error}") from error
    with np.errstate(over="ignore"):
        array: npt.NDArray[Any] = wide.astype(dtype.as_numpy_dtype)
    if np.any(np.isinf(array) & np.isfinite(wide)):
        raise invalid(f"Cannot convert a JSON value to {dtype.name} without loss of precision.")
    return array


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()
    if not _is_base64(leaf):
        raise _type_error(leaf, "string")
    try:
        # Like absl's decoder: ASCII white space anywhere, with or without padding.
        text = leaf["b64"].translate(_WHITE_SPACE)
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise invalid("Unable to base64 decode") from error


def _type_error(leaf: Any, expected: str) -> tf.errors.OpError:
    if isinstance(leaf, list):
        return invalid("Encountered list at unexpected size or level in the JSON DOM")
    kind = _JSON_TYPES.get(type(leaf).__name__, "Number")
    return invalid(f"JSON Value: {_quote(leaf)} Type: {kind} is not of expected type: {expected}")


def _quote(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MAX_QUOTED_CHARACTERS else text[:_MAX_QUOTED_CHARACTERS] + "…"


def _to_lists(name: str, array: npt.NDArray[Any]) -> Any:
    """Nested lists of JSON's types."""
    if array.dtype == object and name.endswith("_bytes"):
        array = np.vectorize(lambda value: {"b64": base64.b64encode(value).decode()}, "O")(array)
    elif array.dtype == object:
        array = np.vectorize(lambda value: value.decode(errors="surrogateescape"), "O")(array)
    elif array.dtype.kind == "f":
        # The shortest text that gives the float back: 0.2, where a double would be 0.200000003.
        array = np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape)
    return array.tolist()
