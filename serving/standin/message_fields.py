"""How much a protobuf message holds, checked before it is unpacked.

Unpacked, an empty string of two bytes takes sixteen times as much, and an empty message more.
"""

from typing import Final

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from serving.standin.status import invalid

_MAX_FIELDS: Final = 2**16
_MAX_NUMBERS: Final = 2**22
_LONGEST_VARINT: Final = 10
_VARINT, _FIXED_64, _SIZED, _FIXED_32 = 0, 1, 2, 5
_BYTES_OF: Final = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}
"""Bytes of a packed number of a fixed size; the others are varints."""
_UNPACKED: Final = {
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_MESSAGE,
}


def check_fields(content: bytes, descriptor: Descriptor) -> None:
    """Raises INVALID_ARGUMENT for a message of very many fields or packed numbers.

    Malformed messages are left to the parser, except groups, which no message here has.

    Args:
        content: the serialised message.
        descriptor: its type.
    """
    fields = numbers = 0
    messages: list[tuple[Descriptor, int, int]] = [(descriptor, 0, len(content))]
    while messages:
        kind, at, end = messages.pop()
        while at < end:
            fields += 1
            tag, at = _varint(content, at, end)
            size, at = _payload(content, at, end, tag & 7)
            field = kind.fields_by_number.get(tag >> 3)
            if tag & 7 == _SIZED and field is not None:
                if field.message_type is not None:
                    messages.append((field.message_type, at, min(at + size, end)))
                elif field.type not in _UNPACKED:
                    numbers += _count_packed(content[at : min(at + size, end)], field.type)
            if fields > _MAX_FIELDS or numbers > _MAX_NUMBERS:
                raise invalid(
                    f"The request has more than {_MAX_FIELDS} fields or {_MAX_NUMBERS} numbers"
                )
            at += size


def _payload(content: bytes, at: int, end: int, wire_type: int) -> tuple[int, int]:
    """How many bytes of a field to skip, and from where."""
    if wire_type == _SIZED:
        return _varint(content, at, end)
    if wire_type == _VARINT:
        return 0, _varint(content, at, end)[1]
    if wire_type in (_FIXED_32, _FIXED_64):
        return 4 if wire_type == _FIXED_32 else 8, at
    raise invalid("The request is no message: it has a group")


def _count_packed(values: bytes, field_type: int) -> int:
    if field_type in _BYTES_OF:
        return len(values) // _BYTES_OF[field_type]
    return int(np.count_nonzero(np.frombuffer(values, np.uint8) < 0x80))


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at a place, and the place behind it: `end` if it does not end."""
    value = 0
    for place, byte in enumerate(content[at : min(at + _LONGEST_VARINT, end)]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    return value, end
