# ruff: noqa
# mypy: ignore-errors
# Read by test_lazy.py, never run.
"""Three box heads instead of one; a transformer's norm; a schedule made by a function."""

from functools import partial

import torch.nn as nn
from detectron2.config import LazyCall as L
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNConvFCHead
from fvcore.common.param_scheduler import MultiStepParamScheduler

from ..common.detector import model
from ..common.loader import dataloader

[model.roi_heads.pop(name) for name in ["box_head"]]
model.roi_heads.update(
    _target_=CascadeROIHeads,
    box_heads=[
        L(FastRCNNConvFCHead)(fc_dims=[k * width], classes="${...num_classes}") for k, width in [(1, 4), (2, 8)]
    ],
)
model.backbone.bottom_up.stages.depth = 101
model.backbone.norm = model.norm = lambda c: NaiveSyncBatchNorm(c, stats_mode="N")
model.norm_layer = partial(nn.LayerNorm, eps=1e-6)
del model.backbone.bottom_up.stem.norm
for index in range(2):
    model.roi_heads.box_heads[index].score = 0.1 * (index + 1)


def schedule(times, /, *, base=10):
    if times > 2:
        steps = [times * base - 2, times * base - 1]
    else:
        steps = []
    return L(MultiStepParamScheduler)(milestones=steps, updates=times * base)


lr = schedule(3)
lr.updates //= 4
