"""Pooling from several feature levels with operators that know of one, in two ways; both keep the boxes' order.

`pool(level, boxes, image_index)` is such an operator; levels[R] int64 says which level each of boxes[R,4] belongs to.
"""

from collections.abc import Callable
from typing import Any

from onnxscript import opset18

op: Any = opset18  # typed, it would want its own tensor classes
Pool = Callable[[int, Any, Any], Any]


def on_its_level(count: int, levels: Any, boxes: Any, image_index: Any, *, pool: Pool) -> Any:
    """Each box on its own of `count` levels: the least work, but how many boxes a level has follows the data."""
    if count == 1:
        return pool(0, boxes, image_index)
    pooled, order = [], []
    for level in range(count):
        mine = op.Squeeze(op.NonZero(op.Equal(levels, _int(level))), op.Constant(value_ints=[0]))
        pooled.append(pool(level, op.Gather(boxes, mine), op.Gather(image_index, mine)))
        order.append(mine)
    box = op.Concat(*order, axis=0)
    place = op.Range(_int(0), op.Size(box), _int(1))
    return op.Gather(op.Concat(*pooled, axis=0), op.ScatterElements(box, box, place, axis=0))


def on_every_level(count: int, levels: Any, boxes: Any, image_index: Any, *, pool: Pool) -> Any:
    """Each box on all `count` levels, of no size where it does not belong: every shape is known beforehand."""
    pooled = None
    for level in range(count):
        mine = op.Equal(levels, _int(level))
        here = op.Where(op.Unsqueeze(mine, op.Constant(value_ints=[1])), boxes, op.Constant(value_float=0.0))
        found = pool(level, here, image_index)
        is_here = op.Unsqueeze(mine, op.Constant(value_ints=[1, 2, 3]))
        pooled = found if pooled is None else op.Where(is_here, found, pooled)
    return pooled


def _int(value: int) -> Any:
    return op.Constant(value_int=value)
