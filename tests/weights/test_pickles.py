"""A pickle gives arrays, or an error; it never gets anything called, and never more memory than it has bytes."""

import copyreg
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from d2deploy.errors import WeightsError
from d2deploy.weights.pickles import NUMBERS, printable, read_pickle
from d2deploy.weights.read import read_checkpoint

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


class Call:
    """Unpickling this calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def write(folder: Path, data: bytes) -> Path:
    file = folder / "model.pkl"
    file.write_bytes(data)
    return file


# Each makes the folder `mark`, the proof that it ran.
CALLS = {
    "system": lambda mark: Call(os.system, f"mkdir {mark}"),
    "eval": lambda mark: Call(eval, f"__import__('os').mkdir({mark!r})"),
    "exec": lambda mark: Call(exec, f"import os; os.mkdir({mark!r})"),
    "mkdir": lambda mark: Call(os.mkdir, mark),
    "subprocess": lambda mark: Call(subprocess.check_call, ["mkdir", mark]),
    "pickle_in_pickle": lambda mark: Call(pickle.loads, pickle.dumps(Call(os.mkdir, mark))),
    "map": lambda mark: Call(list, Call(map, os.mkdir, [mark])),
}
PLACES = {
    "alone": lambda call: call,
    "as_model": lambda call: {"model": call, "__author__": "x"},
    "as_array": lambda call: {"model": {"a": ARRAY, "b": call}, "__author__": "x"},
    "beside": lambda call: {"model": {"a": ARRAY}, "__author__": "x", "other": [({"deep": [call]},)]},
    "as_state": lambda call: {"model": {"a": Call(np.dtype, call)}},
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("call", "place"),
    # Those that start a process do so in the counter-proof: one place is enough.
    [(call, place) for call in CALLS for place in PLACES if place == "beside" or call not in ("system", "subprocess")],
)
def test_a_call_is_refused(call, place, protocol, tmp_path):
    mark = tmp_path / "mark"
    data = pickle.dumps(PLACES[place](CALLS[call](str(mark))), protocol=protocol)
    assert_refused(data, mark, tmp_path)


@pytest.mark.parametrize(
    "form",
    {
        "global": b"cos\nmkdir\n(S'MARK'\ntR.",
        "getattr_chain": (
            b"cbuiltins\ngetattr\n(cos\npath\nS'os'\ntRp0\n0cbuiltins\ngetattr\n(g0\nS'mkdir'\ntR(S'MARK'\ntR."
        ),
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93X\x04\x00\x00\x00MARK\x85R.",
        "stack_global_dotted": b"\x80\x04\x8c\x02os\x8c\x0dpath.os.mkdir\x93X\x04\x00\x00\x00MARK\x85R.",
        "dotted_from_allowed": b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__init__.__sub\x93.",
        "inst": b"(S'MARK'\nios\nmkdir\n.",
        "obj": b"(cos\nmkdir\nS'MARK'\no.",
        "setstate": b"\x80\x02ctypes\nSimpleNamespace\n)\x81}U\x0c__setstate__cos\nmkdir\nsbX\x04\x00\x00\x00MARKb.",
        "after_a_good_name": b"cnumpy\nndarray\n0cos\nmkdir\n(S'MARK'\ntR.",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_call_in_raw_instructions_is_refused(form, tmp_path):
    name, data = form
    mark = tmp_path / "mark"
    text = str(mark).encode()
    data = data.replace(b"\x04\x00\x00\x00MARK", struct.pack("<I", len(text)) + text).replace(b"MARK", text)
    assert_refused(data, mark, tmp_path, has_effect=name != "dotted_from_allowed")


def assert_refused(data: bytes, mark: Path, folder: Path, *, has_effect: bool = True) -> None:
    if has_effect:
        with suppress(TypeError):  # some places cannot hold what the call gives
            pickle.loads(data)
        assert mark.is_dir(), "the test's own pickle does nothing: it proves nothing"
        mark.rmdir()
    with pytest.raises(WeightsError, match=r"tries to run code: \w+\.\w+.*Nothing of it was run"):
        read_checkpoint(write(folder, data))
    assert not mark.exists()


def test_a_registered_extension_is_refused(tmp_path):
    mark = str(tmp_path / "mark").encode()
    data = b"\x80\x02\x82\xf0(X" + struct.pack("<I", len(mark)) + mark + b"tR."
    copyreg.add_extension("os", "mkdir", 240)
    try:
        pickle.loads(data)
        (tmp_path / "mark").rmdir()
        with pytest.raises(WeightsError, match="byte 130"):
            read_checkpoint(write(tmp_path, data))
    finally:
        copyreg.remove_extension("os", "mkdir", 240)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"\x80\x02ccollections\nCounter\n.", "collections.Counter"),
        (b"\x80\x02c_codecs\ndecode\n.", "_codecs.decode"),
        (b"\x80\x02cbuiltins\nbytearray\n.", "builtins.bytearray"),
        (b"\x80\x02ca\x1b[31m\nb\n.", r"a\\x1b\[31m\.b"),
    ],
)
def test_neighbours_of_what_is_allowed_are_not(data, says, tmp_path):
    with pytest.raises(WeightsError, match=f"tries to run code: .?{says}") as refused:
        read_checkpoint(write(tmp_path, data))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00rot_13\x86R.",  # another codec
        b"\x80\x02cnumpy\nndarray\nM\x10\x27\x85R.",  # an array by its shape alone
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x02cnumpy\nndarray\n}X\x05\x00\x00\x00valueK\x01sb.",  # a state for the class itself
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00xK\x01sb.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent id
        b"\x80\x02}(K\x01\x85K\x01u.",  # a tuple as key
        b"\x80\x02]X\x01\x00\x00\x00aK\x01s.",  # a list with keys
        b"\x80\x02K\x01K\x02\x85R.",  # a number called
    ],
    ids=lambda data: repr(data[:30]),
)
def test_misuse_is_an_error(data, tmp_path):
    with pytest.raises(WeightsError, match="cannot be read as a pickle"):
        read_checkpoint(write(tmp_path, data))


def test_deeply_nested_keys_do_not_overflow_the_stack(tmp_path):
    with pytest.raises(WeightsError, match="neither text nor numbers"):
        read_checkpoint(write(tmp_path, b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."))


def array_pickle(shape: bytes, *, code: bytes = b"f4", content: bytes = bytes(8)) -> bytes:
    """{"model": {"w": array}} as Python 2 wrote it; `shape`: instructions that leave a tuple."""
    return (
        b"\x80\x02}(U\x05model}U\x01wcnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01"
        + shape
        + b"cnumpy\ndtype\n(U\x02" + code + b"K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"U" + bytes([len(content)]) + content + b"tbsU\x0a__author__U\x06Caffe2u."
    )  # fmt: skip


def test_a_pickle_of_python_2(tmp_path):
    content = np.array([1.5, -2.0], "<f4").tobytes()
    assert max(content) > 127, "no byte that ASCII could not hold"
    checkpoint = read_checkpoint(write(tmp_path, array_pickle(b"K\x02\x85", content=content)))
    assert checkpoint.tensors["w"].tolist() == [1.5, -2.0]
    assert checkpoint.author == "Caffe2"


@pytest.mark.parametrize(
    ("data", "says"),
    {
        "state": (array_pickle(b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85"), r"shape \(1000000000000,\)"),
        "product": (array_pickle(b"J\x00\x00\x00\x40J\x00\x00\x00\x40\x86"), r"shape \(1073741824, 1073741824\)"),
        "negative": (array_pickle(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86"), "without a type or a shape"),
        "too_few": (array_pickle(b"K\x01\x85"), r"shape \(1,\) with 8 bytes"),
        "text": (b"\x80\x04\x8d" + struct.pack("<Q", 10**12) + b"abc", "EOFError|Unpickling"),
        "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"abc", "EOFError|Unpickling"),
        "bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 10**12) + b"abc", "EOFError|Unpickling"),
        "frame": (b"\x80\x04\x95" + struct.pack("<Q", 10**12) + b"abc", "cannot be read"),
        "memo": (b"\x80\x02K\x01r\x00\x00\x00\x7f.", "int, not a dict"),
    }.values(),
    ids=["state", "product", "negative", "too_few", "text", "bytes", "bytearray", "frame", "memo"],
)
def test_claims_of_size_reserve_nothing(data, says, tmp_path):
    file = write(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=says):
            read_checkpoint(file)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_shape_given_to_reconstruct_reserves_nothing(tmp_path):
    data = b"\x80\x02}U\x05model}U\x01wcnumpy.core.multiarray\n_reconstruct\n"
    data += b"(cnumpy\nndarray\n\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85U\x02f8tRss."
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="w is ndarray, not a tensor"):
            read_checkpoint(write(tmp_path, data))
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("code", NUMBERS)
def test_every_number_in_every_protocol(code, protocol, tmp_path):
    arrays = {
        "plain": np.array([[1, 0, 3], [4, 1, 100]]).astype(code),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3).astype(code)),
        "transposed": np.arange(24).reshape(2, 3, 4).astype(code).transpose(1, 0, 2),
        "strided": np.arange(24).astype(code)[::3],
        "big_endian": np.arange(6).astype(np.dtype(code).newbyteorder(">")),
        "number": np.array(1, code),
        "empty": np.zeros((0, 4), code),
    }
    content = {"model": arrays, "__author__": "x", "iteration": np.dtype(code).type(1)}
    tensors = read_checkpoint(write(tmp_path, pickle.dumps(content, protocol=protocol))).tensors
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tensors[name].shape == array.shape
        assert tensors[name].numpy().dtype == np.dtype(code)
        np.testing.assert_array_equal(tensors[name].numpy(), array, err_msg=name)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}, None], object),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.array([1j]),
        np.array([(1, 2)], [("x", "i4"), ("y", "i4")]),
        np.array(["2020-01-01"], "M8[D]"),
        np.ma.masked_array([1.0]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_of_anything_else_are_refused(array, tmp_path):
    with pytest.raises(WeightsError, match=r"numbers are read|tries to run code: numpy\.ma"):
        read_checkpoint(write(tmp_path, pickle.dumps({"model": {"w": array}})))


def test_an_array_of_objects_says_so(tmp_path):
    with pytest.raises(WeightsError, match="array of Python objects"):
        read_checkpoint(write(tmp_path, pickle.dumps({"model": {"w": np.array([None])}})))


def test_big_arrays_are_exact(tmp_path):
    array = np.random.default_rng(0).random((300, 500), np.float32)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"model": {"w": array}}, protocol=protocol)
        np.testing.assert_array_equal(read_checkpoint(write(tmp_path, data)).tensors["w"].numpy(), array)


def test_printable():
    assert printable("roi_heads.weight") == "roi_heads.weight"
    assert printable("a\x1b[0m") == "'a\\x1b[0m'"
    assert len(printable("x" * 10**6)) < 250


def test_pickle_without_array_stays_what_it_is(tmp_path):
    content = {"a": [1, 2.5, None, True, (), ("x", b"y")], 3: {"b": -(2**70)}, "c": bytearray(b"z")}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol < 5:
            content.pop("c", None)  # written by a call of bytearray
        stream = io.BytesIO()
        pickle.dump(content, stream, protocol=protocol)
        assert read_pickle(write(tmp_path, stream.getvalue())) == content
