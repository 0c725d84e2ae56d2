"""The configs of detectron2 that d2deploy carries, for those that are built on them: {path below configs/: text}.

What they define is data (bases.yaml); the texts made of it are Python that says the same. A `projects/...` config has
its path below detectron2's top folder.
"""

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from d2deploy.config.loader import read_tree

_DATA = Path(__file__).with_name("bases.yaml")
_NAME, _FROM = "_name_", "_from_"
# 90,000 steps of 16 images are 1x; two steps down, which long schedules put close to their end (detectron2's
# configs/common/coco_schedule.py). Other configs call the function.
_SCHEDULE = """
def default_X_scheduler(num_X):
    steps = num_X * 90000
    is_long = num_X > 2
    return {
        "_target_": "detectron2.solver.WarmupParamScheduler",
        "scheduler": {
            "_target_": "fvcore.common.param_scheduler.MultiStepParamScheduler",
            "values": [1.0, 0.1, 0.01],
            "milestones": [steps - 60000, steps - 20000] if is_long else [60000, 80000],
            "num_updates": steps if is_long else 90000,
        },
        "warmup_length": 1000 / steps,
        "warmup_method": "linear",
        "warmup_factor": 0.001,
    }

""" + "".join(f"lr_multiplier_{n}x = default_X_scheduler({n})\n" for n in (1, 2, 3, 6, 9))
_TEXTS = {"common/coco_schedule.py": _SCHEDULE}


class _Bases(Mapping[str, str]):
    """Texts, each made when it is asked for."""

    def __getitem__(self, path: str) -> str:
        return _TEXTS[path] if path in _TEXTS else _text(path)

    def __iter__(self) -> Iterator[str]:
        yield from _TEXTS
        yield from _files()

    def __len__(self) -> int:
        return len(_TEXTS) + len(_files())


BASES: Mapping[str, str] = _Bases()


@cache
def _files() -> dict[str, Any]:
    files: dict[str, Any] = read_tree(_DATA)["files"]
    return files


@cache
def _text(path: str) -> str:
    """The file as Python. Raises KeyError: no such file."""
    imports: list[str] = []
    body = [f"{name} = {_expression(value, path, imports)}" for name, value in _values(path).items()]
    return "\n".join([*imports, *body, ""])


@cache
def _values(path: str) -> dict[str, Any]:
    """What a file of bases.yaml defines; a value {_from_: [file, name]} is that of one of _TEXTS."""
    row = _files()[path]
    values: dict[str, Any] = {}
    for file in row.get("like", ()):
        values |= copy.deepcopy(_values(file))
    for name, (file, there) in row.get("as", {}).items():
        values[name] = {_FROM: (file, there)} if file in _TEXTS else copy.deepcopy(_values(file)[there])
    for dotted in row.get("unset", ()):
        holder, last = _place(values, dotted)
        del holder[last]
    for dotted, value in sorted(row.get("set", {}).items(), key=lambda item: str(item[0]).count(".")):
        holder, last = _place(values, dotted)
        holder[last] = copy.deepcopy(value)
    return values


def _place(values: dict[str, Any], dotted: str) -> tuple[Any, Any]:
    """What holds the thing of that name, and its key there."""
    *above, last = (int(part) if part.isdigit() else part for part in dotted.split("."))
    holder: Any = values
    for part in above:
        holder = holder[part]
    return holder, last


def _expression(value: Any, path: str, imports: list[str]) -> str:
    """A value as Python; what it needs is added to `imports`."""
    if isinstance(value, list):
        return f"[{', '.join(_expression(item, path, imports) for item in value)}]"
    if not isinstance(value, dict):
        return repr(value)
    if _NAME in value or _FROM in value:
        module, name = _origin(value, path)
        imports.append(f"from {module} import {name}")
        return name
    return f"{{{', '.join(f'{key!r}: {_expression(item, path, imports)}' for key, item in value.items())}}}"


def _origin(value: dict[str, Any], path: str) -> tuple[str, str]:
    """Module and name of what `path` imports."""
    if _NAME in value:
        module, _, name = value[_NAME].rpartition(".")
        return module, name
    file, name = value[_FROM]
    return "." * (path.count("/") + 1) + file.removesuffix(".py").replace("/", "."), name
