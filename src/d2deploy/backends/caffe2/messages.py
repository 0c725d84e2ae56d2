"""Caffe2's file format: NetDef, OperatorDef and Argument as protobuf messages, made from a table of our own.

Field numbers: those of the real runtime's messages, as torch 1.8.1 lists them. Fields that d2deploy neither writes nor
reads are left out; protobuf carries them along unread.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from d2deploy.errors import ArtifactError
from d2deploy.optional import optional

# message -> field -> (number, kind); [] around the kind: any number of them.
_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "NetDef": {
        "name": (1, "string"),
        "op": (2, "[OperatorDef]"),
        "type": (3, "string"),
        "device_option": (5, "DeviceOption"),
        "arg": (6, "[Argument]"),
        "external_input": (7, "[string]"),
        "external_output": (8, "[string]"),
    },
    "OperatorDef": {
        "input": (1, "[string]"),
        "output": (2, "[string]"),
        "name": (3, "string"),
        "type": (4, "string"),
        "arg": (5, "[Argument]"),
        "device_option": (6, "DeviceOption"),
        "engine": (7, "string"),
        "control_input": (8, "[string]"),
    },
    "Argument": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "floats": (5, "[float]"),
        "ints": (6, "[int64]"),
        "strings": (7, "[bytes]"),
        "n": (8, "NetDef"),
        "nets": (9, "[NetDef]"),
    },
    "DeviceOption": {"device_type": (1, "int32"), "device_id": (2, "int32")},
}


@cache
def _classes() -> dict[str, Any]:
    descriptor = optional("google.protobuf.descriptor_pb2", extra="caffe2")
    pool = optional("google.protobuf.descriptor_pool", extra="caffe2").DescriptorPool()
    factory = optional("google.protobuf.message_factory", extra="caffe2")
    field = descriptor.FieldDescriptorProto
    file = descriptor.FileDescriptorProto(name="d2deploy/netdef", package="d2deploy", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            bare = kind.strip("[]")
            made = message.field.add(name=field_name, number=number)
            made.label = field.LABEL_REPEATED if kind != bare else field.LABEL_OPTIONAL
            if bare in _FIELDS:
                made.type, made.type_name = field.TYPE_MESSAGE, f".d2deploy.{bare}"
            else:
                made.type = getattr(field, f"TYPE_{bare.upper()}")
                # Readers take numbers side by side or one by one; side by side a weight is 4 bytes and not 5.
                made.options.packed = kind != bare and bare in ("float", "int64")
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"d2deploy.{name}")) for name in _FIELDS}


def new_net(name: str) -> Any:
    """An empty NetDef."""
    return _classes()["NetDef"](name=name)


def add_op(net: Any, type: str, *, inputs: Sequence[str], outputs: Sequence[str], args: Mapping[str, Any]) -> Any:
    """Append an operator, and give it. An argument's field follows its Python type."""
    op = net.op.add(type=type, input=inputs, output=outputs)
    for name, value in args.items():
        set_arg(op.arg.add(name=name), value)
    return op


def set_arg(arg: Any, value: Any) -> None:
    """Store `value` in the field of its type. An empty list is stored as no numbers: give none."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        arg.MergeFromString(_packed(5, value.tobytes()))
    elif isinstance(value, np.ndarray):
        arg.ints.extend(value.ravel().tolist())
    elif isinstance(value, bool | int):
        arg.i = int(value)
    elif isinstance(value, float):
        arg.f = value
    elif isinstance(value, str):
        arg.s = value.encode()
    elif all(isinstance(item, int) for item in value):
        arg.ints.extend(value)
    else:
        arg.floats.extend(value)


def _packed(number: int, data: bytes) -> bytes:
    """A field of many numbers as it stands in a file: millions of weights, none of which becomes a Python object."""
    key = bytes([number << 3 | 2])
    length, size = bytearray(), len(data)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return key + bytes(length) + bytes([size]) + data


def arg_value(arg: Any) -> Any:
    """What `set_arg` stored."""
    for name, is_there in (("f", arg.HasField("f")), ("i", arg.HasField("i")), ("s", arg.HasField("s"))):
        if is_there:
            return getattr(arg, name)
    return list(arg.floats) or list(arg.ints) or list(arg.strings)


def text_of(net: Any) -> str:
    """A NetDef in protobuf's text form."""
    text: str = optional("google.protobuf.text_format", extra="caffe2").MessageToString(net)
    return text


def read_net(file: Path) -> Any:
    """The NetDef in `file`. Raises ArtifactError when it holds none."""
    error_type = optional("google.protobuf.message", extra="caffe2").DecodeError
    net = new_net("")
    try:
        net.ParseFromString(file.read_bytes())
    except error_type as error:
        raise ArtifactError(f"{file} is no Caffe2 net: {error}. Export again, or copy the folder again.") from error
    if not net.op:
        raise ArtifactError(f"{file} is no Caffe2 net: it holds no operators. Export again.")
    return net
