"""Detectors without proposals."""

from dataclasses import dataclass

from d2deploy.config.schema.proposals import Anchors
from d2deploy.config.schema.roi import Detections


@dataclass(frozen=True, kw_only=True)
class RetinaNet:
    """MODEL.RETINANET.*"""

    in_features: tuple[str, ...]
    detections: Detections
    conv_dims: tuple[int, ...]  # of each of the two towers; -1: as wide as what comes in
    norm: str
    bbox_reg_weights: tuple[float, float, float, float]
    topk_candidates: int  # per feature level
    anchors: Anchors


@dataclass(frozen=True, kw_only=True)
class FCOS:
    """Arguments of detectron2's FCOS (meta_arch/fcos.py), which LazyConfigs alone can name."""

    in_features: tuple[str, ...]
    detections: Detections
    conv_dims: tuple[int, ...]  # of each of the two towers
    norm: str
    normalize_by_size: bool  # distances are in strides of the level; if not, in pixels
    topk_candidates: int  # per feature level
