"""Caffe2's files as bytes."""

import numpy as np
import pytest

from d2deploy.backends.caffe2.messages import add_op, arg_value, new_net, read_net, set_arg
from d2deploy.errors import ArtifactError


def test_the_bytes_of_a_net():
    net = new_net("n")
    add_op(net, "Relu", inputs=["a"], outputs=["b"], args={"k": 2})
    # Key bytes are field number * 8 + wire type: name 1, op 2; in an operator input 1, output 2, type 4, arg 5.
    argument = b"\x0a\x01k" + b"\x18\x02"
    operator = b"\x0a\x01a" + b"\x12\x01b" + b"\x22\x04Relu" + b"\x2a" + bytes([len(argument)]) + argument
    assert net.SerializeToString() == b"\x0a\x01n" + b"\x12" + bytes([len(operator)]) + operator


@pytest.mark.parametrize("count", [0, 1, 31, 32, 5000])
def test_weights_are_four_bytes_each(count):
    numbers = np.arange(count, dtype=np.float32)
    arg = new_net("").op.add().arg.add(name="values")
    before = arg.ByteSize()
    set_arg(arg, numbers)
    assert list(arg.floats) == numbers.tolist()
    assert arg.ByteSize() - before <= 4 * count + 4


@pytest.mark.parametrize(
    ("value", "field"),
    [(3, "i"), (True, "i"), (0.5, "f"), ("NCHW", "s"), ([1, 2], "ints"), ([0.5, 1], "floats"), ([], "ints")],
)
def test_an_argument_s_field_follows_its_type(value, field):
    arg = new_net("").op.add().arg.add(name="a")
    set_arg(arg, value)
    assert [name.name for name, _ in arg.ListFields()] == (["name", field] if value != [] else ["name"])
    assert arg_value(arg) == (value.encode() if isinstance(value, str) else value)


@pytest.mark.parametrize("content", [b"", b"\x12\xff\xff", b"PK\x03\x04 a zip", b"\x0a\x01n"])
def test_what_is_no_net(content, tmp_path):
    file = tmp_path / "model.pb"
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.pb is no Caffe2 net"):
        read_net(file)
