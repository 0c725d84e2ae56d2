"""The statements of a LazyConfig, followed one by one: imports, assignments, loops over lists, functions."""

import ast
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from d2deploy.config.lazy.calls import Given, Hooks
from d2deploy.config.lazy.expression import MAX_NESTING, Evaluator
from d2deploy.config.lazy.files import Files, Source
from d2deploy.config.lazy.functions import FUNCTIONS, listed, truth
from d2deploy.config.lazy.scope import Function, Scope, allowed
from d2deploy.config.lazy.values import Budget, Items, Problem, Symbol, Table, adopted, kind_of, outside, put, remove
from d2deploy.errors import ConfigError

# Modules of Python's own library that a config may name; all other modules are names without a meaning here.
LIBRARY_MODULES = ("__future__", "collections", "copy", "functools", "itertools", "math", "typing")
# Calls of these, whose result is not used, register a dataset: nothing that a model depends on.
REGISTERING = ("detectron2.data.",)
_FILE_COST = 100  # steps
_UNKNOWN: dict[type[ast.stmt], str] = {
    ast.ClassDef: "a class definition",
    ast.FunctionDef: "a decorated function",
    ast.AsyncFunctionDef: "an asynchronous function",
    ast.For: "a loop with an else",
}


class _Returned(NamedTuple):
    value: Any


class Interpreter:
    """One reading of a config with all that it imports."""

    def __init__(self, carried: Mapping[str, str], budget: Budget) -> None:
        loaders = {
            "detectron2.model_zoo.get_config": self._get_config,
            "detectron2.model_zoo.model_zoo.get_config": self._get_config,
            "detectron2.config.LazyConfig.load": self._load,
            "detectron2.config.lazy.LazyConfig.load": self._load,
            "detectron2.config.LazyConfig.load_rel": self._load,
            "detectron2.config.lazy.LazyConfig.load_rel": self._load,
        }
        self.files = Files(carried)
        self.budget = budget
        self.evaluator = Evaluator(budget, Hooks(self._run, loaders))

    def config(self, source: Source) -> Table:
        """The config that a file defines: its mappings and lists, by name, as detectron2's LazyConfig.load has them.

        Raises ConfigError, which names file and line.
        """
        root = Table("config")
        for name, value in self.names(source).items():
            is_data = isinstance(value, Items) or (isinstance(value, Table) and value.kind != "object")
            if is_data and not name.startswith("_"):
                put(root, name, value, self.budget)
        return root

    def names(self, source: Source) -> dict[str, Any]:
        """All names that a file defines, by following it from its top."""
        self.budget.spend(_FILE_COST)
        scope = Scope(source)
        if isinstance(self._block(source.tree.body, scope), _Returned):
            raise ConfigError(f"{source.label}: a return outside of a function. Mend the file.")
        return scope.names

    def _block(self, statements: list[ast.stmt], scope: Scope) -> _Returned | None:
        for statement in statements:
            try:
                returned = self._statement(statement, scope)
            except Problem as problem:
                raise located(problem, scope.source.label, problem.line or statement.lineno) from problem
            if returned is not None:
                return returned
        return None

    def _statement(self, node: ast.stmt, scope: Scope) -> _Returned | None:
        self.budget.spend()
        self.evaluator.depth += 1
        try:
            if self.evaluator.depth > MAX_NESTING:
                raise outside(f"statements and calls are nested deeper than {MAX_NESTING} levels")
            match node:
                case ast.If(test=test, body=body, orelse=orelse):
                    return self._block(body if truth(self.evaluator.value(test, scope)) else orelse, scope)
                case ast.For(body=body, orelse=[]):
                    return self._for(node, scope)
                case ast.Return(value=value):
                    return _Returned(None if value is None else self.evaluator.value(value, scope))
            self._simple(node, scope)
            return None
        finally:
            self.evaluator.depth -= 1

    def _simple(self, node: ast.stmt, scope: Scope) -> None:
        match node:
            case ast.Import(names=names):
                self._import(names, scope)
            case ast.ImportFrom():
                self._import_from(node, scope)
            case ast.Assign(targets=targets, value=value):
                found = self.evaluator.value(value, scope)
                for target in targets:
                    self.evaluator.assign(target, found, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self.evaluator.assign(target, self.evaluator.value(value, scope), scope)
            case ast.AugAssign():
                self._augmented(node, scope)
            case ast.Expr(value=value):
                self._for_its_effect(value, scope)
            case ast.Delete(targets=targets):
                for target in targets:
                    self._delete(target, scope)
            case ast.FunctionDef(name=name, decorator_list=[]):
                scope.names[allowed(name)] = Function(node, scope)
            case ast.Pass():
                pass
            case _:
                raise outside(_UNKNOWN.get(type(node), f"a {type(node).__name__.lower()} statement"))

    def _for(self, node: ast.For, scope: Scope) -> _Returned | None:
        for item in listed(self.evaluator.value(node.iter, scope), self.budget):
            self.evaluator.assign(node.target, item, scope)
            if returned := self._block(node.body, scope):
                return returned
        return None

    def _for_its_effect(self, node: ast.expr, scope: Scope) -> None:
        result = self.evaluator.value(node, scope)
        is_object = isinstance(result, Table) and result.kind == "object"
        if is_object and not result.entries["_target_"].startswith(REGISTERING):
            raise outside(f"what {result.entries['_target_']} does when it is called")

    def _augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        old = self.evaluator.value(node.target, scope)
        new = self.evaluator.combined(node.op, old, self.evaluator.value(node.value, scope))
        if isinstance(old, list):
            old[:] = new  # a list's += changes the list itself
        else:
            self.evaluator.assign(node.target, new, scope)

    def _delete(self, target: ast.expr, scope: Scope) -> None:
        match target:
            case ast.Name(id=name) if name in scope.names:
                del scope.names[name]
            case ast.Attribute(value=holder_node, attr=key):
                self._remove(self.evaluator.value(holder_node, scope), allowed(key))
            case ast.Subscript(value=holder_node, slice=key_node):
                self._remove(self.evaluator.value(holder_node, scope), self.evaluator.value(key_node, scope))
            case _:
                raise outside("deleting something else than a name or an entry")

    def _remove(self, holder: Any, key: Any) -> None:
        if isinstance(holder, list) and type(key) is int and -len(holder) <= key < len(holder):
            del holder[key]
        elif isinstance(holder, Items) or (isinstance(holder, Table) and holder.kind != "object"):
            remove(holder, key)
        else:
            raise outside(f"deleting from a {kind_of(holder)}")

    def _import(self, names: list[ast.alias], scope: Scope) -> None:
        for alias in names:
            _check_module(alias.name)
            bound = alias.asname or alias.name.partition(".")[0]
            scope.names[allowed(bound)] = Symbol(alias.name if alias.asname else bound)

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        if node.level:
            return self._import_config(node, scope)
        _check_module(node.module or "")
        for alias in node.names:
            if alias.name == "*":
                raise outside(f"importing all names of {node.module}")
            scope.names[allowed(alias.asname or alias.name)] = Symbol(f"{node.module}.{allowed(alias.name)}")
        return None

    def _import_config(self, node: ast.ImportFrom, scope: Scope) -> None:
        if node.module is None:
            raise outside("`from . import`; name the file: from .file import name")
        source = self.files.relative(scope.source, node.level, node.module)
        names = self.names(source)
        for alias in node.names:
            if alias.name == "*":
                scope.names |= {k: self._imported(v) for k, v in names.items() if not k.startswith("_")}
            elif alias.name in names:
                scope.names[allowed(alias.asname or alias.name)] = self._imported(names[alias.name])
            else:
                raise Problem(f"{source.label} defines no {alias.name}")

    def _imported(self, value: Any) -> Any:
        """A dict turns into a config by being imported (detectron2 config/lazy.py, _patch_import)."""
        return adopted(value, None, self.budget) if isinstance(value, Table) and value.kind == "dict" else value

    def _run(self, function: Function, given: Given) -> Any:
        scope = Scope(function.scope.source, function.scope)
        self._bind(function, given, scope)
        if isinstance(function.node, ast.Lambda):
            return self.evaluator.value(function.node.body, scope)
        returned = self._block(function.node.body, scope)
        return returned.value if returned else None

    def _bind(self, function: Function, given: Given, scope: Scope) -> None:
        arguments = function.node.args
        names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
        by_name = [argument.arg for argument in arguments.kwonlyargs]
        defaults = dict(zip(names[::-1], arguments.defaults[::-1], strict=False))
        defaults |= {n: d for n, d in zip(by_name, arguments.kw_defaults, strict=True) if d is not None}
        values = dict(zip(names, given.values, strict=False)) | given.keywords
        strays = {key: values.pop(key) for key in sorted(given.keywords.keys() - {*names, *by_name})}
        if (len(given.values) > len(names) and not arguments.vararg) or (strays and not arguments.kwarg):
            raise Problem(f"{function.name} is called with arguments that it does not have {' '.join(strays)}")
        if arguments.vararg:
            scope.names[allowed(arguments.vararg.arg)] = tuple(given.values[len(names) :])
        if arguments.kwarg:
            scope.names[allowed(arguments.kwarg.arg)] = FUNCTIONS["dict"](self.budget, **strays)
        for name in (*names, *by_name):
            if name in values:
                scope.names[allowed(name)] = values[name]
            elif name in defaults:
                scope.names[allowed(name)] = self.evaluator.value(defaults[name], function.scope)
            else:
                raise Problem(f"{function.name} is called without its argument {name}")

    def _get_config(self, scope: Scope, given: Given) -> Any:
        name = given.values[0] if given.values else given.keywords.get("config_path")
        if not isinstance(name, str):
            raise outside("get_config without a name")
        return self.config(self.files.zoo(scope.source, name))

    def _load(self, scope: Scope, given: Given) -> Any:
        values = [*given.values, *given.keywords.values()]
        if not values or len(values) > 2 or not isinstance(values[0], str) or not values[0].endswith(".py"):
            raise outside("LazyConfig.load of something else than a .py file")
        config = self.config(self.files.beside(scope.source, values[0]))
        keys = values[1] if len(values) == 2 else None
        if keys is None:
            return config
        found = [config.entries.get(key) for key in ([keys] if isinstance(keys, str) else listed(keys, self.budget))]
        return found[0] if isinstance(keys, str) else tuple(found)


def located(problem: Problem, label: str, line: int) -> ConfigError:
    """The error that says where a problem is, and what to do."""
    if problem.is_outside:
        advice = "d2deploy reads configs without running them, and knows less than Python; --trust-config executes it."
        return ConfigError(f"{label}, line {line}: not understood: {problem}. {advice}")
    return ConfigError(f"{label}, line {line}: {problem}. Mend the file there.")


def _check_module(name: str) -> None:
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names and root not in LIBRARY_MODULES:
        raise outside(f"importing Python's module {root}")
