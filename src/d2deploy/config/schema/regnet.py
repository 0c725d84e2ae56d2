"""RegNet X and Y, and the AnyNets that they are a family of."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RegNet:
    """Arguments of detectron2's AnyNet (backbone/regnet.py), which its RegNet works out from a few numbers.

    One entry a stage in `depths` and in what follows it.
    """

    stem: str  # "SimpleStem", of stride 2, or "ResStem", of stride 4
    stem_width: int
    block: str  # "ResBottleneckBlock", "ResBasicBlock" or "VanillaBlock"
    depths: tuple[int, ...]  # blocks
    widths: tuple[int, ...]  # channels
    strides: tuple[int, ...]  # of the first block
    group_widths: tuple[int, ...]  # channels of a group, in bottlenecks
    bottleneck_ratios: tuple[float, ...]  # channels inside a bottleneck, of those outside
    se_ratio: float  # channels inside squeeze-and-excitation, of those before the block; 0: there is none
    norm: str
    freeze_at: int  # stages below it are built with FrozenBN; the stem is stage 1
    out_features: tuple[str, ...]  # of stem, s1, s2, ...
