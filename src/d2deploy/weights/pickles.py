"""Read a pickle of plain containers and numpy arrays without calling anything that the file asks for.

A pickle is a program: it names functions and has them called. Here every name that it may use stands for a function or
class of this file (STAND_INS), whatever the file means by it, so neither numpy nor anything else is called with
arguments from the file; any other name is refused before it is looked up. The set of names is what numpy writes, see
`ndarray.__reduce__`, `dtype.__reduce__` and `numpy._core.numeric._frombuffer`; the protocol is in Python's
`pickletools`.

The interpreter is Python's own one that is written in Python, not the one in C: its table of instructions can be cut
down, and it reserves no memory for positions that a damaged file makes up.
"""

import math
import mmap
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from struct import unpack
from typing import Any, ClassVar, Never

import numpy as np

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")  # numpy's codes of the types that become tensors


class ForeignName(Exception):
    """A pickle that names something other than an array: a function to call. `name` is module.name, printable."""

    def __init__(self, module: str, name: str) -> None:
        self.name = printable(f"{module}.{name}")
        super().__init__(f"it names {self.name}")


def read_pickle(path: Path) -> Any:
    """What is pickled in file `path`: dicts, lists, tuples, text, numbers, and PickledArray for each array.

    Text of Python 2 is decoded as latin1. Raises ForeignName for a name that is not in STAND_INS; a damaged file raises
    any other Exception, for it can break anywhere.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Unpickler(content, encoding="latin1").load()


def printable(text: str) -> str:
    """`text` from an untrusted file, short and without control characters, fit for a terminal."""
    short = text if len(text) <= 200 else text[:200] + "..."
    return short if short.isprintable() else ascii(short)


def _said(value: object) -> str:
    # Never the repr of what a file built: lists that share parts can be made to print endlessly.
    return printable(value) if isinstance(value, str) else type(value).__name__


class PickledDtype:
    """Stands for numpy.dtype: `value` is the dtype, one of NUMBERS in either byte order."""

    def __init__(self, code: object, *flags: object) -> None:
        if code not in NUMBERS:
            what = "Python objects" if isinstance(code, str) and code[:1] == "O" else f"type {_said(code)}"
            raise ValueError(f"it holds an array of {what}; only arrays of numbers are read")
        self.value = np.dtype(str(code))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"it holds an array with byte order {_said(order)}")
        self.value = self.value.newbyteorder(order)


class PickledArray:
    """Stands for numpy.ndarray: `value` is the array, None until the file has given its content."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, shape, dtype, is_fortran, data = state
        self.value = _array(data, dtype, shape, "F" if is_fortran else "C")


def _array(data: object, dtype: object, shape: Iterable[Any], order: str) -> np.ndarray:
    """The array over `data`, not copied. Raises ValueError unless `data` has exactly the bytes that `shape` needs."""
    raw = _latin1_bytes(data)
    sides = tuple(shape)
    is_shape = len(sides) <= 64 and all(type(side) is int and 0 <= side < 2**48 for side in sides)
    if not is_shape or not isinstance(dtype, PickledDtype):
        raise ValueError("it holds an array without a type or a shape")
    if math.prod(sides) * dtype.value.itemsize != len(raw):
        raise ValueError(f"it holds an array of shape {printable(str(sides))} with {len(raw)} bytes")
    if isinstance(raw, bytearray):
        return np.frombuffer(raw, dtype.value).reshape(sides, order="F" if order == "F" else "C")
    array = np.ndarray(0, dtype.value)
    # Unlike frombuffer on bytes this gives a writable array, the only kind that torch takes without a warning.
    array.__setstate__((1, sides, dtype.value, order == "F", raw))  # type: ignore[arg-type]
    return array


def _latin1_bytes(data: object, encoding: object = "latin1") -> bytes | bytearray:
    """Stands for _codecs.encode, by which old protocols write bytes as text."""
    if encoding != "latin1":
        raise ValueError(f"it holds bytes in encoding {_said(encoding)}")
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"it holds {type(data).__name__} where bytes should be")
    return data


def _reconstruct(kind: object, shape: object, code: object) -> PickledArray:
    if kind is not PickledArray:
        raise ValueError("it holds an array of a kind of its own")
    return PickledArray()


def _frombuffer(data: object, dtype: object, shape: tuple[int, ...], *layout: Any) -> PickledArray:
    """`layout`: "C" or "F", or "K" and the order of the axes in memory."""
    order, *axes = layout
    result = PickledArray()
    array = _array(data, dtype, shape, order)
    result.value = array.transpose(axes[0]) if axes and axes[0] is not None else array
    return result


def _scalar(dtype: object, data: object) -> int | float | bool:
    number: int | float | bool = _array(data, dtype, (), "C").item()
    return number


def _dict(items: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    return _keyed([part for key, value in items for part in (key, value)])


def _keyed(items: list[Any]) -> dict[Any, Any]:
    """The dict of alternating keys and values. Raises ValueError for keys that are not plain."""
    keys = items[::2]
    # A tuple nested a million deep as a key would overflow the stack while it is hashed, and end the process.
    if not all(key is None or type(key) in (str, bytes, int, float, bool) for key in keys):
        raise ValueError("it holds a dict with keys that are neither text nor numbers")
    return dict(zip(keys, items[1::2], strict=True))


def _named(full_name: str, does: Callable[..., Any]) -> tuple[str, Any]:
    """`does` under the name that files have for it: torch.load knows what it may call by module and name."""
    module, _, name = full_name.rpartition(".")

    def stand_in(*arguments: Any) -> Any:
        return does(*arguments)

    known: Any = does if isinstance(does, type) else stand_in
    known.__module__, known.__name__, known.__qualname__ = module, name, name
    return full_name, known


# numpy 2 renamed numpy.core to numpy._core; files have either.
STAND_INS: dict[str, Any] = dict(
    [
        _named("numpy.ndarray", PickledArray),
        _named("numpy.dtype", PickledDtype),
        *(_named(f"numpy.{core}.multiarray._reconstruct", _reconstruct) for core in ("core", "_core")),
        *(_named(f"numpy.{core}.multiarray.scalar", _scalar) for core in ("core", "_core")),
        *(_named(f"numpy.{core}.numeric._frombuffer", _frombuffer) for core in ("core", "_core")),
    ]
)
_NAMES: dict[str, Any] = {
    **STAND_INS,
    "collections.OrderedDict": _dict,
    "_codecs.encode": _latin1_bytes,
    "builtins.bytes": lambda: b"",  # how protocol 2 writes bytes of length 0
    "__builtin__.bytes": lambda: b"",
}

_INSTRUCTIONS = re.findall(
    r"\w+",
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT
    GLOBAL STACK_GLOBAL INST
    """,
)

_Interpreter: Any = pickle._Unpickler


class _Instructions(dict[int, Callable[..., None]]):
    def __missing__(self, code: int) -> Never:
        raise ValueError(f"byte {code} is no instruction that arrays need")


class _Unpickler(_Interpreter):  # type: ignore[misc]
    """Python's interpreter of pickles, less the instructions that make objects."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _NAMES:
            raise ForeignName(module, name)
        return _NAMES[f"{module}.{name}"]

    def load_reduce(self) -> None:
        arguments, known = self.stack.pop(), self.stack.pop()
        if not any(known is one for one in _NAMES.values()):
            raise ValueError("it calls what is not a function")
        self.append(known(*arguments))

    def load_build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, PickledArray | PickledDtype):
            target.__setstate__(state)
        elif type(target) is not dict:  # a state dict carries `_metadata`, which nothing here needs
            raise ValueError("it gives a state to something that has none")

    def load_dict(self) -> None:
        items = self.pop_mark()  # before self.append is looked up: it goes with the stack
        self.append(_keyed(items))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise ValueError("it gives keys to something that is not a dict")
        self.stack[-1].update(_keyed(items))

    def load_bytearray8(self) -> None:
        # Python's own reserves and clears the length that the file claims before it looks whether the file has it.
        self.append(bytearray(self.read(unpack("<Q", self.read(8))[0])))

    dispatch: ClassVar = _Instructions(
        {
            **{code: _Interpreter.dispatch[code] for code in (getattr(pickle, name)[0] for name in _INSTRUCTIONS)},
            pickle.REDUCE[0]: load_reduce,
            pickle.BUILD[0]: load_build,
            pickle.DICT[0]: load_dict,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.BYTEARRAY8[0]: load_bytearray8,
        }
    )
