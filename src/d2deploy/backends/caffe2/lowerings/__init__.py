"""One lowering a node of torch.export's graph: function(place, *the node's arguments) -> name(s) of the blob(s)."""

from collections.abc import Callable
from typing import Any

from d2deploy.backends.caffe2.lowerings.arithmetic import ARITHMETIC
from d2deploy.backends.caffe2.lowerings.composites import COMPOSITES
from d2deploy.backends.caffe2.lowerings.dense import DENSE
from d2deploy.backends.caffe2.lowerings.layers import LAYERS
from d2deploy.backends.caffe2.lowerings.shapes import SHAPES

LOWERINGS: dict[Any, Callable[..., Any]] = {**ARITHMETIC, **COMPOSITES, **DENSE, **LAYERS, **SHAPES}
