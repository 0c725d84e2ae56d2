"""One YAML file as a plain tree, without running code and without letting the file exhaust time or memory."""

from pathlib import Path
from typing import Any

import yaml

from d2deploy.config.expression import evaluate
from d2deploy.errors import ConfigError

try:  # the same loader in C, eight times as fast
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

MAX_BYTES = 1_000_000  # a full dump of a config has 8,000
MAX_DEPTH = 30
MAX_VALUES = 50_000  # aliases counted each time they are named
MAX_NUMBER = 100  # characters
MAX_MERGED = 50  # mappings that one `<<` may name

# The last five: what PyYAML raises for a value that its tag does not fit, such as !!int "" or !!timestamp x.
_YAML_ERRORS = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError)
_EVAL = "tag:yaml.org,2002:python/object/apply:eval"
_TUPLE = "tag:yaml.org,2002:python/tuple"
_MERGE = "tag:yaml.org,2002:merge"


def read_tree(path: Path) -> dict[str, Any]:
    """The mapping in YAML file `path`: text keys; values are mappings, lists, tuples, numbers, texts, bools, None.

    A whole number as a key is read as its text. Raises ConfigError, which names file and line: no such file, not YAML,
    not a mapping, a tag that would run code, too large.
    """
    return _parsed(_read(path), path, _TextKeys)


def parse_tree(text: str, path: Path) -> dict[str, Any]:
    """As read_tree, for the text of `path`; but a number as a key is refused."""
    return _parsed(text, path, _Loader)


def _parsed(text: str, path: Path, loader: type[SafeLoader]) -> dict[str, Any]:
    try:
        _check_nesting(text)
        tree = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = (error.problem or error.context or "").replace("tag:yaml.org,2002:", "!!")
        raise ConfigError(f"{path}{line}: {problem}. {_advice(error, text)}") from error
    except _YAML_ERRORS as error:
        raise ConfigError(f"{path} is not a YAML file that can be read: {error or type(error).__name__}.") from error
    if not isinstance(tree, dict):
        kind = "empty" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{path} is {kind}, not a mapping of keys such as MODEL. Give detectron2's config.yaml.")
    _check_plain(tree, path)
    return tree


class _Loader(SafeLoader):
    """SafeLoader, plus the two tags of detectron2's files that need no code to be understood."""

    merged_keys = 0

    def flatten_mapping(self, node: Any) -> None:
        # To hash a tuple of aliases of tuples takes time without end.
        if any(not isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise _problem("a key is not a text", node)
        # `<<` copies key lists, so that a short file could ask for billions of them.
        merges = [value for key, value in node.value if key.tag == _MERGE]
        count = sum(len(value.value) if isinstance(value, yaml.SequenceNode) else 1 for value in merges)
        if count > MAX_MERGED:
            raise _problem(f"<< names {count} mappings; at most {MAX_MERGED} are read", node)
        super().flatten_mapping(node)
        self.merged_keys += len(node.value) if merges else 0
        if self.merged_keys > MAX_VALUES:
            raise _problem(f"<< copies more than {MAX_VALUES} keys", node)

    def expression(self, node: Any) -> Any:
        items: Any = node.value if isinstance(node, yaml.SequenceNode) else ()
        if len(items) != 1 or not isinstance(items[0], yaml.ScalarNode):
            raise _problem("the eval tag needs a list of one text", node)
        try:
            return evaluate(items[0].value)
        except ValueError as error:
            raise _problem(str(error), node) from error

    def tuple_of_items(self, node: Any) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise _problem("the tuple tag needs a list", node)
        items: list[Any] = self.construct_sequence(node, deep=True)
        return tuple(items)

    def number(self, node: Any) -> int | float:
        # YAML 1.1 reads 1:1:1 in base 60, in quadratic time.
        if len(node.value) > MAX_NUMBER:
            raise _problem(f"a number has more than {MAX_NUMBER} characters", node)
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


_Loader.add_constructor(_EVAL, _Loader.expression)
_Loader.add_constructor(_TUPLE, _Loader.tuple_of_items)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


class _TextKeys(_Loader):
    """Whole numbers as keys are texts: `0: cat` is `"0": cat`, which detectron2's configs have in its place."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        made = super().construct_mapping(node, deep=deep)
        return {str(key) if type(key) is int else key: value for key, value in made.items()}


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path} has more than {MAX_BYTES} bytes: no config. Give detectron2's config.yaml.")
        return data.decode("utf-8-sig")
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder. Give the config file in it, such as config.yaml.") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist. Give the path of detectron2's config.yaml.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text, so it is no config. Give detectron2's config.yaml.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _check_nesting(text: str) -> None:
    """Before the tree is built: libyaml's composer recurses in C and crashes the process on deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _problem(f"nested deeper than {MAX_DEPTH} levels", event)


def _check_plain(tree: dict[str, Any], path: Path) -> None:
    """Aliases make a tree that is small in memory and endless to walk: count what a walk would see."""
    left = MAX_VALUES
    rest: list[tuple[str, Any, int]] = [("", tree, 0)]
    while rest:
        name, value, depth = rest.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise ConfigError(f"{path} holds more than a config can: its aliases (*name) expand without end.")
        if isinstance(value, dict):
            for key, child in value.items():
                if not isinstance(key, str):
                    raise ConfigError(f"{path}: the key {key!r} in {name or 'the file'} is not a text.")
                rest.append((f"{name}.{key}" if name else key, child, depth + 1))
        elif isinstance(value, list | tuple):
            rest += ((name, child, depth + 1) for child in value)
        elif value is not None and not isinstance(value, str | int | float):
            raise ConfigError(f"{name} in {path} is a {type(value).__name__}; a config holds numbers, texts and lists.")


def _problem(text: str, node: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(problem=text, problem_mark=node.start_mark)


def _advice(error: yaml.MarkedYAMLError, text: str) -> str:
    if "_target_:" in text:
        return "The file is the dump of a LazyConfig, which is no base of a YAML config. Give a YAML config."
    if "could not determine a constructor" in (error.problem or ""):
        return "The tag would run code, which d2deploy never does. Write the value itself."
    if isinstance(error, yaml.constructor.ConstructorError):
        return "Write the value itself."
    return "Mend the file there, or give detectron2's config.yaml."
