"""One lowering a node of torch.export's graph: function(place, *the node's arguments) -> name(s) of the blob(s).

Sizes that depend on the net's input come as place.Size, and lowerings that do not know these are not asked (SIZED).
"""

from collections.abc import Callable
from typing import Any

from d2deploy.backends.caffe2.lowerings.arithmetic import ARITHMETIC, SIZED_ARITHMETIC
from d2deploy.backends.caffe2.lowerings.dense import DENSE
from d2deploy.backends.caffe2.lowerings.images import IMAGES
from d2deploy.backends.caffe2.lowerings.layers import LAYERS
from d2deploy.backends.caffe2.lowerings.pieces import PIECES, SIZED_PIECES
from d2deploy.backends.caffe2.lowerings.points import POINTS
from d2deploy.backends.caffe2.lowerings.products import PRODUCTS
from d2deploy.backends.caffe2.lowerings.proposals import PROPOSALS
from d2deploy.backends.caffe2.lowerings.resize import RESIZING
from d2deploy.backends.caffe2.lowerings.rois import ROIS
from d2deploy.backends.caffe2.lowerings.rotated import ROTATED
from d2deploy.backends.caffe2.lowerings.shapes import SHAPES, SIZED_SHAPES
from d2deploy.backends.caffe2.lowerings.sizes import SIZES

_SIZED: dict[Any, Callable[..., Any]] = {**SIZED_ARITHMETIC, **SIZED_PIECES, **SIZED_SHAPES, **RESIZING}
SIZED = frozenset(_SIZED)
LOWERINGS: dict[Any, Callable[..., Any]] = {
    **ARITHMETIC,
    **DENSE,
    **IMAGES,
    **LAYERS,
    **PIECES,
    **POINTS,
    **PRODUCTS,
    **PROPOSALS,
    **ROIS,
    **ROTATED,
    **SHAPES,
    **SIZES,
    **_SIZED,
}
