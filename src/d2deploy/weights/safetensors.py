"""Read a safetensors file, believing nothing that it says of itself.

The format (github.com/huggingface/safetensors, README, "Format"): 8 bytes, little-endian, say how long the header is;
the header is JSON, {name: {dtype, shape, data_offsets}}; the rest are the tensors' bytes, row-major and little-endian,
without holes or overlaps.
"""

import json
import math
import mmap
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, Any

from d2deploy.optional import optional

if TYPE_CHECKING:
    import torch  # noqa: TID251 - its types only

MAX_HEADER = 100_000_000  # bytes; the format's own limit
# The format's name of a dtype -> (torch's, bytes)
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
}
_NO_ARRAY = "is not described by dtype, shape and data_offsets"


def read_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    """The tensors of file `path`, on its memory map. Raises ValueError, in few words, when the file is not right."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header, start = _header(content)
    _check_gapless(header, len(content) - start)
    return {name: _tensor(content, start, row) for name, row in header.items()}


def _header(content: mmap.mmap) -> tuple[dict[str, Any], int]:
    """The rows by name, and where the tensors begin."""
    if len(content) < 8:
        raise ValueError("shorter than its header")
    (length,) = unpack("<Q", content[:8])
    if length > min(MAX_HEADER, len(content) - 8):
        raise ValueError(f"its header claims {length} bytes")
    try:
        header = json.loads(content[8 : 8 + length].decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    header.pop("__metadata__", None)
    for name, row in header.items():
        _check_row(name, row)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("its header has a name twice")
    return table


def _check_row(name: str, row: Any) -> None:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), list) for key in ("shape", "data_offsets")):
        raise ValueError(f"{name!r} {_NO_ARRAY}")
    shape, offsets, dtype = row["shape"], row["data_offsets"], row.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r} has dtype {dtype!r}, which is not read")
    if len(offsets) != 2 or not all(type(number) is int and 0 <= number < 2**48 for number in (*shape, *offsets)):
        raise ValueError(f"{name!r} {_NO_ARRAY}")
    if math.prod(shape) * DTYPES[dtype][1] != offsets[1] - offsets[0]:
        raise ValueError(f"{name!r} has {offsets[1] - offsets[0]} bytes, which is not what its shape needs")


def _check_gapless(header: dict[str, Any], size: int) -> None:
    end = 0
    for begin, stop in sorted(tuple(row["data_offsets"]) for row in header.values()):
        if begin != end:
            raise ValueError("its tensors overlap or leave holes")
        end = stop
    if end != size:
        raise ValueError(f"its tensors need {end} bytes, it has {size}")


def _tensor(content: mmap.mmap, start: int, row: dict[str, Any]) -> "torch.Tensor":
    library = optional("torch", extra="torch")
    name, itemsize = DTYPES[row["dtype"]]
    shape, (begin, stop) = row["shape"], row["data_offsets"]
    dtype = getattr(library, name)
    if begin == stop:
        empty: torch.Tensor = library.empty(shape, dtype=dtype)
        return empty
    # The map begins at a page: an offset that is no multiple of the item's size would give a crooked pointer.
    is_aligned = (start + begin) % itemsize == 0
    source, offset = (content, start + begin) if is_aligned else (bytearray(content[start + begin : start + stop]), 0)
    flat = library.frombuffer(source, dtype=dtype, count=math.prod(shape), offset=offset)
    tensor: torch.Tensor = flat.reshape(shape)
    return tensor
