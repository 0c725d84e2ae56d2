"""HRNet, which has branches of several sizes side by side, and the pyramid on it (detectron2's project DensePose)."""

from dataclasses import dataclass

BOTTLENECK_EXPANSION = 4


@dataclass(frozen=True, kw_only=True)
class HRStage:
    """MODEL.HRNET.STAGE2 to STAGE4. One entry a branch, from fine to coarse, in `blocks` and `channels`."""

    modules: int
    block: str  # "BASIC", or "BOTTLENECK", which gives four times `channels`
    blocks: tuple[int, ...]  # of each module
    channels: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels that come out of each branch."""
        return tuple(
            channels * (BOTTLENECK_EXPANSION if self.block == "BOTTLENECK" else 1) for channels in self.channels
        )


@dataclass(frozen=True, kw_only=True)
class HRNet:
    """MODEL.HRNET.*; the stem and stage 1 are the same in all."""

    stages: tuple[HRStage, HRStage, HRStage]  # stage 2 to stage 4


@dataclass(frozen=True, kw_only=True)
class HRFPN:
    """MODEL.HRNET.HRFPN.*: p1, of stride 4, and further levels, each of twice the stride."""

    bottom_up: HRNet
    out_channels: int
    num_levels: int
