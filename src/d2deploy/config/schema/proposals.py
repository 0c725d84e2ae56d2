"""Where the boxes come from that RoI heads look at."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """MODEL.ANCHOR_GENERATOR.*: one entry a feature level."""

    sizes: tuple[tuple[float, ...], ...]
    aspect_ratios: tuple[tuple[float, ...], ...]
    offset: float
    angles: tuple[tuple[float, ...], ...] = ()  # degrees; none: upright boxes

    @property
    def per_cell(self) -> int:
        """Anchors of one cell, as many on every level."""
        return len(self.sizes[0]) * len(self.aspect_ratios[0]) * (len(self.angles[0]) if self.angles else 1)


@dataclass(frozen=True, kw_only=True)
class RPN:
    """MODEL.RPN.* and MODEL.PROPOSAL_GENERATOR.*"""

    in_features: tuple[str, ...]
    conv_dims: tuple[int, ...]
    bbox_reg_weights: tuple[float, ...]  # 4; 5 for rotated boxes
    pre_nms_topk: int  # per feature level
    post_nms_topk: int  # per image
    nms_thresh: float
    min_box_size: float
    anchors: Anchors


@dataclass(frozen=True, kw_only=True)
class PrecomputedProposals:
    """No proposal generator: whoever calls the network gives the boxes (Fast R-CNN)."""

    topk: int  # DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST: how many of an image's boxes are used, the first ones
