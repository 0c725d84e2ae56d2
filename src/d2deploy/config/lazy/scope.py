"""Names while a LazyConfig is read, and what can be called."""

import ast
from dataclasses import dataclass
from typing import Any

from d2deploy.config.lazy.files import Source
from d2deploy.config.lazy.functions import FUNCTIONS
from d2deploy.config.lazy.values import Code, Problem, Symbol, outside, short


@dataclass(frozen=True)
class Builtin:
    """One of FUNCTIONS."""

    name: str


@dataclass(frozen=True)
class Lazy:
    """L(target), not yet called."""

    target: str


class Scope:
    """Names and what they stand for; those of `outer` are seen too."""

    def __init__(self, source: Source, outer: "Scope | None" = None) -> None:
        self.source = source
        self.outer = outer
        self.names: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """The value of a name. Raises Problem when nothing has it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        if name in FUNCTIONS:
            return Builtin(name)
        raise outside(f"{short(name)} is neither defined before nor a function that a config may call")


@dataclass(frozen=True)
class Function:
    """A function or lambda of the file."""

    node: ast.FunctionDef | ast.Lambda
    scope: Scope

    def code(self) -> Code:
        """As a value of a config."""
        source = ast.get_source_segment(self.scope.source.text, self.node) or ""
        body = self.node.body
        return Code(source, _dotted(body.func, self.scope) if isinstance(body, ast.Call) else None)

    @property
    def name(self) -> str:
        """Its file's name, then its own: no module has such a name, so that no table of targets can hold it."""
        own = "<lambda>" if isinstance(self.node, ast.Lambda) else self.node.name
        return f"{self.scope.source.label}:{own}"


def stored(value: Any) -> Any:
    """`value` as data: a function of the file becomes its text."""
    return value.code() if isinstance(value, Function) else value


def allowed(name: str) -> str:
    """`name`; raises Problem for one with which Python's insides could be reached."""
    if name.startswith("__"):
        raise outside(f"the name {short(name)}")
    return name


def _dotted(node: ast.AST, scope: Scope) -> str | None:
    """The dotted name that an expression such as T.Resize stands for, without computing anything."""
    if isinstance(node, ast.Name):
        try:
            found = scope.find(node.id)
        except Problem:
            return None
        return found.name if isinstance(found, Symbol) else None
    if isinstance(node, ast.Attribute) and (left := _dotted(node.value, scope)):
        return f"{left}.{node.attr}"
    return None
