"""What stands for a network's composite part in Caffe2's copy of it: part -> its twin, made of the part."""

from collections.abc import Callable
from typing import Any

from torch import nn

from d2deploy.backends.caffe2.twins.dense import fcos, retinanet
from d2deploy.backends.caffe2.twins.heads import AllMasks, Heads, Res5Heads
from d2deploy.backends.caffe2.twins.layers import DeformConv, Prepare, WindowMean
from d2deploy.backends.caffe2.twins.proposals import Given, ProposalList, Proposals
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.ops.window_mean import WindowMean as WindowMeanOp

TWINS: dict[str, Callable[[Any], nn.Module]] = {
    "DeformConv": DeformConv,
    "FastRCNN": Given,
    "FCOS": fcos,
    "MaskRCNNConvUpsampleHead": AllMasks,
    "ProposalNetwork": ProposalList,
    "ROIHeads": Heads,
    "RPN": Proposals,
    "Res5ROIHeads": Res5Heads,
    "RetinaNet": retinanet,
}
"""Class attribute `composite` of the part -> twin."""

OP_TWINS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {PrepareImages: Prepare, WindowMeanOp: WindowMean}
"""Ops, which formats know, -> twin."""

BOXES_FROM: set[type[nn.Module]] = {Proposals, Given}
BOXES_TO: set[type[nn.Module]] = {Heads, Res5Heads, ProposalList}
"""The twins that give rois, and those that take them: a network has both or neither."""
