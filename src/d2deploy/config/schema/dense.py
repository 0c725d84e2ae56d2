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


@dataclass(frozen=True, kw_only=True)
class TensorMaskWindows:
    """MODEL.TENSOR_MASK.* of the masks: each anchor has a window of its own size."""

    conv_dims: tuple[int, ...]
    sizes: tuple[int, ...]  # cells a side, on the first level, of each anchor's window
    is_aligned: bool
    is_bipyramid: bool  # windows have as many cells a side more as the level is coarser than the first one

    def factor(self, level: int) -> int:
        """By how much windows are larger on a level than on the first one, level 0."""
        return 2**level if self.is_bipyramid else 1


@dataclass(frozen=True, kw_only=True)
class TensorMask:
    """MODEL.TENSOR_MASK.* of detectron2's project TensorMask."""

    in_features: tuple[str, ...]
    detections: Detections
    cls_dims: tuple[int, ...]  # of the tower of class scores
    bbox_dims: tuple[int, ...]
    bbox_reg_weights: tuple[float, float, float, float]
    topk_candidates: int  # of all levels together
    anchors: Anchors
    windows: TensorMaskWindows | None  # None: no masks

    @property
    def mask_side(self) -> int:
        """Cells a side of the largest window."""
        assert self.windows is not None
        return max(self.windows.sizes) * self.windows.factor(len(self.in_features) - 1)
