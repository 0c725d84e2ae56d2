"""Parts of the user's own, which a NAME key of the config names: their other keys are theirs to read."""

from typing import NamedTuple

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.checks import Supported, at
from d2deploy.registry import (
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_KEYPOINT_HEAD_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    Registry,
)


class _Row(NamedTuple):
    """`reads`: beginnings of the keys that the part reads in d2deploy's stead."""

    registry: Registry
    reads: tuple[str, ...]


_PARTS = {
    "MODEL.PROPOSAL_GENERATOR.NAME": _Row(PROPOSAL_GENERATOR_REGISTRY, ("MODEL.RPN.", "MODEL.ANCHOR_GENERATOR.")),
    "MODEL.ROI_HEADS.NAME": _Row(
        ROI_HEADS_REGISTRY,
        ("MODEL.ROI_BOX_HEAD.", "MODEL.ROI_MASK_HEAD.", "MODEL.ROI_KEYPOINT_HEAD.", "MODEL.MASK_ON"),
    ),
    "MODEL.ROI_BOX_HEAD.NAME": _Row(ROI_BOX_HEAD_REGISTRY, ("MODEL.ROI_BOX_HEAD.NORM",)),
    "MODEL.ROI_MASK_HEAD.NAME": _Row(ROI_MASK_HEAD_REGISTRY, ("MODEL.ROI_MASK_HEAD.NORM",)),
    "MODEL.ROI_KEYPOINT_HEAD.NAME": _Row(ROI_KEYPOINT_HEAD_REGISTRY, ()),
    "MODEL.SEM_SEG_HEAD.NAME": _Row(SEM_SEG_HEADS_REGISTRY, ("MODEL.SEM_SEG_HEAD.NORM",)),
}


def own(cfg: Node, key: str) -> schema.Registered | None:
    """The user's part that NAME key `key` names; None for one of d2deploy's."""
    name = at(cfg, key)
    return schema.Registered(name=name, cfg=cfg) if name in _PARTS[key].registry else None


def without_own(cfg: Node, supported: Supported) -> Supported:
    """`supported` without the keys that are left to parts of the user's own."""
    theirs = tuple(
        beginning for key, row in _PARTS.items() if at(cfg, key) in row.registry for beginning in (key, *row.reads)
    )
    return {key: allowed for key, allowed in supported.items() if not key.startswith(theirs)}
