"""The value of an expression in a LazyConfig, computed by walking its syntax: no code of the file runs."""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

from d2deploy.config.lazy.calls import Caller, Given, Hooks
from d2deploy.config.lazy.functions import METHODS, binary, checked, equal, listed, text_of, truth
from d2deploy.config.lazy.scope import Function, Scope, allowed, stored
from d2deploy.config.lazy.values import Budget, Items, Problem, Symbol, Table, kind_of, outside, put, read, short

MAX_NESTING = 60  # expressions, statements and calls within each other; the official configs have 12
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_FORMAT = re.compile(r"[<>^]?0?\d{0,2}(\.\d{1,2})?[defgs%]?")


class Evaluator:
    """Expressions of one config and all that it imports."""

    def __init__(self, budget: Budget, hooks: Hooks) -> None:
        self.budget = budget
        self.caller = Caller(budget, hooks)
        self.depth = 0

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """The value of `node`. Raises Problem, which knows its line."""
        self.budget.spend()
        self.depth += 1
        try:
            if self.depth > MAX_NESTING:
                raise outside(f"expressions and calls are nested deeper than {MAX_NESTING} levels")
            rule = _RULES.get(type(node))
            if rule is None:
                raise outside(f"the expression {short(ast.unparse(node))}")
            return rule(self, node, scope)
        except Problem as problem:
            problem.line = problem.line or node.lineno
            raise
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            worthless = Problem(f"{short(ast.unparse(node))} has no value: {error}")
            worthless.line = node.lineno
            raise worthless from error
        finally:
            self.depth -= 1

    def values(self, nodes: list[ast.expr], scope: Scope) -> list[Any]:
        """The values of a list's items; *x stands for all of x."""
        found: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += listed(self.value(node.value, scope), self.budget)
            else:
                found.append(self.value(node, scope))
        return found

    def assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        """What `target = value` does."""
        match target:
            case ast.Name(id=name):
                scope.names[allowed(name)] = value
            case ast.Attribute(value=holder, attr=key):
                put(self._holder(holder, scope), allowed(key), stored(value), self.budget)
            case ast.Subscript(value=holder, slice=key_node):
                self._put(self.value(holder, scope), self.value(key_node, scope), stored(value))
            case ast.Tuple(elts=targets) | ast.List(elts=targets) if not any(
                isinstance(t, ast.Starred) for t in targets
            ):
                items = listed(value, self.budget)
                if len(items) != len(targets):
                    raise Problem(f"{len(items)} values for {len(targets)} names")
                for one, item in zip(targets, items, strict=True):
                    self.assign(one, item, scope)
            case _:
                raise outside(f"assigning to {short(ast.unparse(target))}")

    def _put(self, holder: Any, key: Any, value: Any) -> None:
        if isinstance(holder, list) and type(key) is int:
            holder[key] = value
        elif isinstance(holder, Table | Items):
            put(holder, key, value, self.budget)
        else:
            raise outside(f"setting an item of a {kind_of(holder)}")

    def _holder(self, node: ast.expr, scope: Scope) -> Table:
        holder = self.value(node, scope)
        if not isinstance(holder, Table) or _is_object(holder):
            raise outside(f"setting an attribute of a {kind_of(holder)}")
        return holder

    def _constant(self, node: ast.Constant, _: Scope) -> Any:
        if not isinstance(node.value, str | int | float | bool | None):
            raise outside(f"{short(repr(node.value))} as a value")
        return checked(node.value)

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        return scope.find(allowed(node.id))

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        return _attribute_of(self.value(node.value, scope), allowed(node.attr))

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        holder = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            items: Any = holder if isinstance(holder, str | tuple) else listed(holder, self.budget)
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            return items[slice(*(None if end is None else self.value(end, scope) for end in ends))]
        key = self.value(node.slice, scope)
        if isinstance(holder, Table | Items) and not _is_object(holder):
            return read(holder, key)
        if isinstance(holder, list | tuple | str) and type(key) is int:
            return holder[key]
        raise outside(f"an item of a {kind_of(holder)}")

    def _list(self, node: ast.List, scope: Scope) -> list[Any]:
        return [stored(item) for item in self.values(node.elts, scope)]

    def _tuple(self, node: ast.Tuple, scope: Scope) -> tuple[Any, ...]:
        return tuple(self._list(ast.List(node.elts), scope))

    def _dict(self, node: ast.Dict, scope: Scope) -> Table:
        table = Table("dict")
        for key, item in zip(node.keys, node.values, strict=True):
            value = stored(self.value(item, scope))
            if key is None:
                METHODS[Table]["update"](table, self.budget, value)
            else:
                put(table, self.value(key, scope), value, self.budget)
        return table

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Any:
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.Not):
            return not truth(value)
        if not isinstance(value, int | float) or isinstance(node.op, ast.Invert):
            raise outside(f"the sign of a {kind_of(value)}")
        return -value if isinstance(node.op, ast.USub) else value

    def _binary(self, node: ast.BinOp, scope: Scope) -> Any:
        return self.combined(node.op, self.value(node.left, scope), self.value(node.right, scope))

    def combined(self, sign: ast.operator, left: Any, right: Any) -> Any:
        """`left sign right`."""
        if type(sign) not in _SIGNS:
            raise outside(f"the operator {type(sign).__name__}")
        return binary(_SIGNS[type(sign)], left, right, self.budget)

    def _bool(self, node: ast.BoolOp, scope: Scope) -> Any:
        value: Any = None
        for part in node.values:
            value = self.value(part, scope)
            if truth(value) == isinstance(node.op, ast.Or):
                break
        return value

    def _compare(self, node: ast.Compare, scope: Scope) -> bool:
        left = self.value(node.left, scope)
        for sign, part in zip(node.ops, node.comparators, strict=True):
            right = self.value(part, scope)
            if not self._compared(sign, left, right):
                return False
            left = right
        return True

    def _compared(self, sign: ast.cmpop, left: Any, right: Any) -> bool:
        if isinstance(sign, ast.Eq | ast.NotEq):
            return equal(left, right, self.budget) == isinstance(sign, ast.Eq)
        if isinstance(sign, ast.Is | ast.IsNot) and (right is None or isinstance(right, bool)):
            return (left is right) == isinstance(sign, ast.Is)
        if isinstance(sign, ast.In | ast.NotIn):
            if isinstance(left, str) and isinstance(right, str):
                return (left in right) == isinstance(sign, ast.In)
            return any(equal(left, item, self.budget) for item in listed(right, self.budget)) == isinstance(
                sign, ast.In
            )
        are_alike = all(isinstance(s, int | float) for s in (left, right)) or all(
            isinstance(s, str) for s in (left, right)
        )
        if type(sign) not in _ORDER or not are_alike:
            raise outside(f"comparing a {kind_of(left)} with a {kind_of(right)} by {type(sign).__name__}")
        return bool(_ORDER[type(sign)](left, right))

    def _choice(self, node: ast.IfExp, scope: Scope) -> Any:
        return self.value(node.body if truth(self.value(node.test, scope)) else node.orelse, scope)

    def _text(self, node: ast.JoinedStr, scope: Scope) -> str:
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                parts.append(self._formatted(part, scope))
            else:
                parts.append(str(self.value(part, scope)))
        return str(METHODS[str]["join"]("", self.budget, parts))

    def _formatted(self, node: ast.FormattedValue, scope: Scope) -> str:
        value = self.value(node.value, scope)
        match node.format_spec:
            case None:
                layout = ""
            case ast.JoinedStr(values=[ast.Constant(value=str() as layout)]):
                pass
            case _:
                raise outside("a format that is itself computed")
        if node.conversion != -1 or not _FORMAT.fullmatch(layout):
            raise outside(f"the format {short(layout)}")
        return format(value, layout) if layout and isinstance(value, str | int | float) else text_of(value, self.budget)

    def _listing(self, node: ast.ListComp | ast.GeneratorExp, scope: Scope) -> list[Any]:
        return [stored(self.value(node.elt, inner)) for inner in self._loops(node.generators, scope)]

    def _mapping(self, node: ast.DictComp, scope: Scope) -> Table:
        table = Table("dict")
        for inner in self._loops(node.generators, scope):
            put(table, self.value(node.key, inner), stored(self.value(node.value, inner)), self.budget)
        return table

    def _loops(self, loops: list[ast.comprehension], scope: Scope) -> Iterator[Scope]:
        first, *rest = loops
        for item in listed(self.value(first.iter, scope), self.budget):
            inner = Scope(scope.source, scope)
            self.assign(first.target, item, inner)
            if all(truth(self.value(test, inner)) for test in first.ifs):
                yield from self._loops(rest, inner) if rest else (inner,)

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Function:
        return Function(node, scope)

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        if isinstance(node.func, ast.Attribute):
            holder = self.value(node.func.value, scope)
            method = METHODS.get(type(holder), {}).get(node.func.attr)
            if method and not _is_object(holder):
                return self.caller.method(method, holder, self._given(node, scope))
            callee = _attribute_of(holder, allowed(node.func.attr))
        else:
            callee = self.value(node.func, scope)
        return self.caller.called(callee, self._given(node, scope), scope)

    def _given(self, node: ast.Call, scope: Scope) -> Given:
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg is not None:
                keywords[allowed(keyword.arg)] = value
            elif isinstance(value, Table):
                keywords |= {allowed(str(key)): read(value, key) for key in value.entries}
            else:
                raise outside(f"** of a {kind_of(value)}")
        return Given(self.values(node.args, scope), keywords)


def _attribute_of(holder: Any, name: str) -> Any:
    if isinstance(holder, Symbol):
        return Symbol(f"{holder.name}.{name}")
    if isinstance(holder, Table) and not _is_object(holder):
        return read(holder, name)
    raise outside(f"the attribute {name} of a {kind_of(holder)}")


def _is_object(value: Any) -> bool:
    """Whether it is the result of a call that is only known by name: what it holds is not known."""
    return isinstance(value, Table) and value.kind == "object"


_RULES: dict[type[ast.expr], Callable[[Evaluator, Any, Scope], Any]] = {
    ast.Constant: Evaluator._constant,
    ast.Name: Evaluator._name,
    ast.Attribute: Evaluator._attribute,
    ast.Subscript: Evaluator._subscript,
    ast.List: Evaluator._list,
    ast.Tuple: Evaluator._tuple,
    ast.Dict: Evaluator._dict,
    ast.UnaryOp: Evaluator._unary,
    ast.BinOp: Evaluator._binary,
    ast.BoolOp: Evaluator._bool,
    ast.Compare: Evaluator._compare,
    ast.IfExp: Evaluator._choice,
    ast.JoinedStr: Evaluator._text,
    ast.ListComp: Evaluator._listing,
    ast.GeneratorExp: Evaluator._listing,
    ast.DictComp: Evaluator._mapping,
    ast.Lambda: Evaluator._lambda,
    ast.Call: Evaluator._call,
}
