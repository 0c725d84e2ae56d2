"""Heads that say something about every pixel."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SemSegFPNHead:
    """MODEL.SEM_SEG_HEAD.*: the semantic branch of Panoptic FPN."""

    in_features: tuple[str, ...]
    num_classes: int
    conv_dims: int
    common_stride: int  # input pixels per cell of the sum of all levels
    norm: str


@dataclass(frozen=True, kw_only=True)
class PanopticCombine:
    """MODEL.PANOPTIC_FPN.COMBINE.*: how instances and semantic labels become one picture."""

    overlap_thresh: float
    stuff_area_thresh: int  # pixels of the original image
    instances_score_thresh: float
