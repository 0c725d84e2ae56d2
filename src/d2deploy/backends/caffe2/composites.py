"""A copy of a network in which twins (twins/) stand for its parts: one operator of Caffe2 for many small ones.

A part says by its class attribute `composite` which it is: formats do not import networks. A twin has its part's
parameters under the same names. Between the twins proposals are `rois` (nodes.py), a list as long as it needs to be,
where the network has a fixed number of rows an image and a logit of -inf for "none".
"""

from torch import nn

from d2deploy.backends.caffe2.twins import BOXES_FROM, BOXES_TO, OP_TWINS, TWINS
from d2deploy.backends.capture import OPAQUE, fold_norms, swapped
from d2deploy.errors import UnsupportedOps


def caffe2_core(core: nn.Module) -> nn.Module:
    """A copy of `core` with twins in place of what Caffe2 has operators for, norms folded. Weights are shared."""
    outer = nn.Module()
    outer.core = core
    made = outer
    for _depth in range(3):  # a twin's own parts are swapped one round later
        # Not inherited: what a user's subclass does differently is not known here.
        types = {type(module): vars(type(module)).get("composite") for module in made.modules()}
        twins = {kind: TWINS[name] for kind, name in types.items() if name in TWINS}
        made = swapped(made, {**OPAQUE, **OP_TWINS, **twins})
    core = made.core  # type: ignore[assignment]
    _check(core)
    return fold_norms(core)


def _check(core: nn.Module) -> None:
    """Raises UnsupportedOps where one half of a detector would speak of rois and the other would not."""
    kinds = {type(module) for module in core.modules()}
    if bool(BOXES_FROM & kinds) != bool(BOXES_TO & kinds):
        raise UnsupportedOps(
            "Caffe2 cannot express this model: its operators join proposals and RoI heads, so both must be d2deploy's "
            "own (RPN with StandardROIHeads, CascadeROIHeads or Res5ROIHeads). Choose another --format."
        )
