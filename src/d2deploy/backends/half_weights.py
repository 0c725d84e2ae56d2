"""A network whose weights fit into 16 bits: what a file with such weights computes, to be written and compared with.

Only large tensors are rounded. Anchors and whatever else says where things are keep 32 bits: float16 would leave a
quarter of a pixel of an anchor of 512.
"""

import dataclasses
from typing import Any

from torch import nn

from d2deploy.backends.capture import fold_norms, swapped

LARGE = 1024  # numbers of a tensor; all smaller ones together are a hundredth of a network


def with_half_weights(model: Any) -> Any:
    """`model` (Exportable, a dataclass) with its large weights rounded to what float16 holds; itself if they are.

    Norms are folded first, as they are in a graph. What float16 is too small for stays as it is.
    """
    core, is_changed = fold_norms(swapped(model.core, {}, keep_aliases=True)), False
    for module in core.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            rounded = weight.detach().half().float()
            if weight.numel() >= LARGE and rounded.isfinite().all() and not rounded.equal(weight):
                setattr(module, name, nn.Parameter(rounded, requires_grad=False))
                is_changed = True
    return dataclasses.replace(model, core=core) if is_changed else model
