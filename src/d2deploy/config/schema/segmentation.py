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
class ASPP:
    """ASPP_*: convolutions of several dilations side by side, and the mean of a window around each cell."""

    channels: int
    dilations: tuple[int, int, int]
    crop_size: tuple[int, int] | None  # INPUT.CROP.SIZE, input pixels: the size of the window; None: the whole image


@dataclass(frozen=True, kw_only=True)
class DeepLabV3Head:
    """MODEL.SEM_SEG_HEAD.* of DeepLab v3."""

    in_feature: str
    aspp: ASPP
    num_classes: int
    common_stride: int  # what the last layer's cells are enlarged by
    norm: str
    use_depthwise_separable_conv: bool


@dataclass(frozen=True, kw_only=True)
class DeepLabDecoder:
    """From ASPP on the coarsest feature level to the finest one."""

    in_features: tuple[str, ...]
    project_channels: tuple[int, ...]  # of each level but the coarsest, from the finest on
    aspp: ASPP
    conv_dims: int
    common_stride: int  # input pixels per cell of the finest level
    norm: str
    use_depthwise_separable_conv: bool


@dataclass(frozen=True, kw_only=True)
class DeepLabV3PlusHead:
    """MODEL.SEM_SEG_HEAD.* of DeepLab v3+, and of Panoptic-DeepLab."""

    decoder: DeepLabDecoder
    num_classes: int
    head_channels: int = 0  # of the layers between decoder and predictor; 0: there are none (DeepLab v3+)


@dataclass(frozen=True, kw_only=True)
class InsEmbedHead:
    """MODEL.INS_EMBED_HEAD.*: centres of things, and where each pixel's centre is."""

    decoder: DeepLabDecoder
    head_channels: int


@dataclass(frozen=True, kw_only=True)
class PanopticCombine:
    """MODEL.PANOPTIC_FPN.COMBINE.*: how instances and semantic labels become one picture."""

    overlap_thresh: float
    stuff_area_thresh: int  # pixels of the original image
    instances_score_thresh: float
