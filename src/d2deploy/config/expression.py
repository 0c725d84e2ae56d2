"""Arithmetic from a config file, evaluated without running code.

Two official detectron2 configs compute values in a YAML tag that calls Python's eval: RetinaNet's anchor sizes,
"[[x, x * 2**(1.0/3)] for x in [32, 64]]", and a list of training sizes, "[int(x * 0.1 * 640) for x in range(5, 16)]".
What they need is allowed here and nothing else; sizes and steps have caps, so that no text can hang.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MAX_TEXT = 2_000  # characters
MAX_STEPS = 20_000  # evaluated syntax nodes and list items, together
MAX_BITS = 256  # of a whole number

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_CALLS: dict[str, Callable[..., Any]] = {"int": int, "float": float, "range": range}


def evaluate(text: str) -> Any:
    """The number, list or tuple that `text` describes.

    Numbers, lists, tuples, + - * / // % **, list comprehensions without conditions, int(), float(), range().
    Raises ValueError, whose message says what is not allowed.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the expression has {len(text)} characters; at most {MAX_TEXT} are evaluated")
    try:
        return _Evaluator().value(ast.parse(text.strip(), mode="eval").body, {})
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"the expression {_short(text)} cannot be read ({type(error).__name__})") from error
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"the expression {_short(text)} has no value: {error}") from error


class _Evaluator:
    """One evaluation: counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        self._count(1)
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return _checked(number)
            case ast.List(elts=items):
                return [self.value(item, names) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self.value(item, names) for item in items)
            case ast.Name(id=name) if name in names:
                self._count(_size(names[name]))
                return names[name]
            case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
                return _UNARY[type(sign)](self._number(operand, names))
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
                return _binary(type(sign), self._number(left, names), self._number(right, names))
            case ast.ListComp(elt=element, generators=loops):
                return [self.value(element, inner) for inner in self._loop(loops, names)]
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
                return self._call(name, [self._number(argument, names) for argument in arguments])
        raise ValueError(f"{_short(ast.unparse(node))} is not allowed in an expression")

    def _number(self, node: ast.expr, names: Mapping[str, Any]) -> int | float:
        value = self.value(node, names)
        if not isinstance(value, int | float):
            raise ValueError(f"{_short(ast.unparse(node))} is not a number")
        return value

    def _call(self, name: str, arguments: list[int | float]) -> Any:
        result = _CALLS[name](*arguments)
        if isinstance(result, range):
            self._count(min(len(result), MAX_STEPS + 1))
            return list(result)
        return _checked(result)

    def _loop(self, loops: list[ast.comprehension], names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        first, *rest = loops
        if first.ifs or first.is_async or not isinstance(first.target, ast.Name):
            raise ValueError("a comprehension may only be `for name in list`")
        items = self.value(first.iter, names)
        if not isinstance(items, list | tuple):
            raise ValueError(f"{_short(ast.unparse(first.iter))} is not a list")
        for item in items:
            inner = {**names, first.target.id: item}
            yield from self._loop(rest, inner) if rest else (inner,)

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise ValueError(f"the expression takes more than {MAX_STEPS} steps")


def _binary(sign: type[ast.operator], left: int | float, right: int | float) -> int | float:
    # Only whole numbers grow without end: a float overflows instead.
    are_whole = isinstance(left, int) and isinstance(right, int)
    if sign is ast.Pow and are_whole and abs(right) * int(left).bit_length() > MAX_BITS:
        raise ValueError("a power in the expression is too large")
    return _checked(_BINARY[sign](left, right))


def _checked(number: Any) -> int | float:
    if isinstance(number, int) and number.bit_length() <= MAX_BITS:
        return number
    if isinstance(number, float) and math.isfinite(number):
        return number
    raise ValueError("the expression has a number that is not finite, not real or too large")


def _size(value: Any) -> int:
    """Items in a bound value: naming it repeatedly must cost what it adds to the result."""
    return sum(1 + _size(item) for item in value) if isinstance(value, list | tuple) else 0


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
