"""PointRend, a project of detectron2: masks that are drawn coarsely and then mended where they are unsure."""

from dataclasses import dataclass

from d2deploy.config.schema.segmentation import SemSegFPNHead


@dataclass(frozen=True, kw_only=True)
class ConvFCHead:
    """MODEL.ROI_MASK_HEAD.*: from feature levels at resolution x resolution points of a box to one vector."""

    in_features: tuple[str, ...]
    resolution: int
    conv_dim: int
    fc_dims: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Subdivision:
    """How a mask grows: `start` x `start` cells, then `steps` times twice as many a side, mending `num_points` each."""

    start: int
    steps: int
    num_points: int

    @property
    def side(self) -> int:
        """Cells a side in the end."""
        return self.start << self.steps


@dataclass(frozen=True, kw_only=True)
class StandardPointHead:
    """MODEL.POINT_HEAD.*: fully connected layers that decide about a point."""

    in_features: tuple[str, ...]
    fc_dims: tuple[int, ...]
    coarse_pred_each_layer: bool  # every layer sees the coarse prediction, not the first alone
    cls_agnostic_mask: bool


@dataclass(frozen=True, kw_only=True)
class ImplicitPointHead:
    """MODEL.POINT_HEAD.* and MODEL.IMPLICIT_POINTREND.*: such layers, whose weights come with each box."""

    in_features: tuple[str, ...]
    fc_dims: tuple[int, ...]
    image_feature_enabled: bool  # a point is seen by the feature levels there
    pos_enc_enabled: bool  # and by its place in the box
    cls_agnostic_mask: bool


@dataclass(frozen=True, kw_only=True)
class PointRendMaskHead:
    """A coarse mask, and a point head for where it is unsure."""

    coarse: ConvFCHead
    coarse_side: int  # MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION
    point: StandardPointHead
    subdivision: Subdivision

    @property
    def side(self) -> int:
        """Cells a side of a mask."""
        return self.subdivision.side


@dataclass(frozen=True, kw_only=True)
class ImplicitPointRendMaskHead:
    """The weights of a point head for each box; there is no coarse mask."""

    parameters: ConvFCHead
    point: ImplicitPointHead
    subdivision: Subdivision

    @property
    def side(self) -> int:
        """Cells a side of a mask."""
        return self.subdivision.side


@dataclass(frozen=True, kw_only=True)
class PointRendSemSegHead:
    """A coarse semantic head, and a point head for where it is unsure."""

    coarse: SemSegFPNHead
    point: StandardPointHead
    steps: int
    num_points: int  # mended at each step

    @property
    def num_classes(self) -> int:
        """Of both heads."""
        return self.coarse.num_classes
