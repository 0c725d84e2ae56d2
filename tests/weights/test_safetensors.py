"""safetensors files, right and wrong. Whole files as checkpoints are in test_read.py."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from d2deploy.weights.safetensors import DTYPES, read_safetensors


def write(folder: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = folder / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def row(begin: int, end: int, *, dtype: Any = "F32", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", range(8))
def test_every_dtype_at_every_offset(dtype, padding, tmp_path):
    name, size = DTYPES[dtype]
    expected = torch.arange(6).to(getattr(torch, name)).reshape(2, 3)
    header = {
        "pad": {"dtype": "U8", "shape": [padding], "data_offsets": [0, padding]},
        "w": {"dtype": dtype, "shape": [2, 3], "data_offsets": [padding, padding + 6 * size]},
    }
    data = bytes(padding) + expected.view(torch.uint8).numpy().tobytes()
    tensors = read_safetensors(write(tmp_path, header, data))
    assert tensors["w"].dtype == expected.dtype
    assert torch.equal(tensors["w"], expected)
    assert tensors["pad"].shape == (padding,)


def test_scalars_empty_ones_and_any_order(tmp_path):
    header = {"b": row(4, 8, shape=[]), "none": row(8, 8, shape=[0, 5]), "a": row(0, 4, shape=[1, 1])}
    tensors = read_safetensors(write(tmp_path, header, struct.pack("<2f", 1, 2)))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"b": (), "none": (0, 5), "a": (1, 1)}
    assert tensors["b"].item() == 2 and tensors["a"].item() == 1


def test_the_file_is_not_written_through(tmp_path):
    file = write(tmp_path, {"a": row(0, 4)}, struct.pack("<f", 1))
    before = file.read_bytes()
    read_safetensors(file)["a"].fill_(7)
    assert file.read_bytes() == before


DATA = bytes(8)
BAD = {
    "short": (b"", b"", 3, "claims 3 bytes"),
    "long_header": ({}, b"", 2**63, "its header claims"),
    "no_json": (b"{x}", b"", None, "Expecting property name"),
    "not_utf8": (b"\xff\xfe", b"", None, "decode"),
    "list": ([1], b"", None, "no table"),
    "deep": (b"[" * 100_000, b"", None, "nested too deeply"),
    "twice": (b'{"a": {}, "a": {}}', b"", None, "twice"),
    "no_row": ({"a": 1}, DATA, None, "'a' is not described"),
    "no_shape": ({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, DATA, None, "'a' is not described"),
    "dtype": ({"a": row(0, 8, dtype="F8_E4M3")}, DATA, None, "'F8_E4M3', which is not read"),
    "dtype_list": ({"a": row(0, 8, dtype=["F32"])}, DATA, None, "which is not read"),
    "negative": ({"a": row(0, 8, shape=[-2, -1])}, DATA, None, "is not described"),
    "bool": ({"a": row(0, 8, shape=[True, 2])}, DATA, None, "is not described"),
    "text": ({"a": row(0, 8, shape=["2"])}, DATA, None, "is not described"),
    "huge": ({"a": row(0, 8, shape=[2**60, 2**60])}, DATA, None, "is not described"),
    "three_offsets": ({"a": {**row(0, 8), "data_offsets": [0, 8, 8]}}, DATA, None, "is not described"),
    "reversed": ({"a": row(8, 0, shape=[0])}, DATA, None, "has -8 bytes"),
    "wrong_size": ({"a": row(0, 8, shape=[3])}, DATA, None, "has 8 bytes"),
    "overlap": ({"a": row(0, 8), "b": row(4, 8)}, DATA, None, "overlap"),
    "hole": ({"a": row(0, 4), "b": row(8, 12)}, bytes(12), None, "holes"),
    "beyond": ({"a": row(0, 80)}, DATA, None, "need 80 bytes, it has 8"),
    "left_over": ({"a": row(0, 4)}, DATA, None, "need 4 bytes, it has 8"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused(case, tmp_path):
    header, data, length, says = BAD[case]
    with pytest.raises(ValueError, match=says):
        read_safetensors(write(tmp_path, header, data, length=length))
