"""Normalisations as a LazyConfig names them: texts, classes, and functions that make one.

detectron2 (layers/batch_norm.py, get_norm) takes a text or anything that makes a layer out of a number of channels.
"""

import ast
from typing import Any

from d2deploy.config.lazy.node import Call
from d2deploy.config.lazy.targets import short_name
from d2deploy.config.lazy.values import Code, Symbol

# get_norm's texts -> ours. naiveSyncBN_N differs in training only.
TEXTS = {
    **{name: name for name in ("", "FrozenBN", "BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "GN", "LN")},
    "naiveSyncBN_N": "naiveSyncBN",
}
CLASSES = {
    "FrozenBatchNorm2d": "FrozenBN",
    "NaiveSyncBatchNorm": "naiveSyncBN",
    "LayerNorm": "LN",
    "torch.BatchNorm2d": "BN",
    "torch.SyncBatchNorm": "nnSyncBN",
}
# What a batch norm may be given that only says how training gathers statistics.
_TRAINING = {"stats_mode", "momentum"}
# A dump says of a lambda only that it is one. The official configs with one (new_baselines) make batch norms, and that
# is what it is taken for: no other norm has running statistics, so that a checkpoint of another one does not fit.
_UNKNOWN_FUNCTION = "naiveSyncBN"


def norm_name(value: Any) -> str | None:
    """Our name of a norm; None when it is none that can be told without running code."""
    if value is None:
        return ""
    if isinstance(value, str):
        return TEXTS.get(value)
    if isinstance(value, Symbol):
        return CLASSES.get(short_name(value.name) or "")
    if isinstance(value, Call) and value.is_partial and not value.positional:
        return _of_call(value.target, set(value.arguments))
    if isinstance(value, Code):
        return _of_code(value)
    return None


def _of_call(target: str, arguments: set[str]) -> str | None:
    return CLASSES.get(short_name(target) or "") if arguments <= _TRAINING else None


def _of_code(code: Code) -> str | None:
    """Of a lambda whose text is known, what it calls; of one whose text is not (see above), batch norm."""
    if code.target is None:
        return _UNKNOWN_FUNCTION if code.source.endswith("<lambda>") else None
    try:
        tree = ast.parse(code.source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match tree:
        case ast.Lambda(
            args=ast.arguments(args=[ast.arg(arg=channels)], posonlyargs=[], kwonlyargs=[], vararg=None, kwarg=None),
            body=ast.Call(args=[*first, ast.Name(id=given)], keywords=keywords),
        ) if given == channels:
            return _of_arguments(code.target, first, keywords)
    return None


def _of_arguments(target: str, first: list[ast.expr], keywords: list[ast.keyword]) -> str | None:
    """Of `target(*first, channels, **keywords)`."""
    match short_name(target), first, keywords:
        case "get_norm", [ast.Constant(value=str() as text)], []:
            return TEXTS.get(text)
        case "torch.GroupNorm", [ast.Constant(value=32)], []:
            return "GN"
        case _, [], _:
            return _of_call(target, {str(keyword.arg) for keyword in keywords})
    return None
