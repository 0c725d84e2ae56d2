"""Keys of the backbone HRNet with its pyramid -> schema. Facts: projects/DensePose, hrnet.py, hrfpn.py and config.py.

FUSE_METHOD is not read, by detectron2 neither: branches are always added.
"""

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.checks import Supported, at, names, refused, whole, wholes

BACKBONE = "build_hrfpn_backbone"
_KEY = "MODEL.HRNET"
_BLOCKS = ("BASIC", "BOTTLENECK")
_STAGES = ("STAGE2", "STAGE3", "STAGE4")
_ROI_LEVELS = "MODEL.ROI_HEADS.IN_FEATURES"
_MOST = 8  # branches or levels: strides grow as powers of 2
SUPPORTED: Supported = {
    # A semantic head's map must have the image's size, and the pyramid's levels are smaller.
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "ProposalNetwork", "RetinaNet"),
    # What comes out of the stem, whatever this key says.
    f"{_KEY}.STEM_INPLANES": (64,),
    f"{_KEY}.STAGE2.BLOCK": _BLOCKS,
    f"{_KEY}.STAGE3.BLOCK": _BLOCKS,
    # The pyramid is built for NUM_CHANNELS, four times of which a bottleneck gives.
    f"{_KEY}.STAGE4.BLOCK": ("BASIC",),
}


def hrfpn(cfg: Node) -> schema.HRFPN:
    """MODEL.HRNET."""
    stages = [_stage(cfg, f"{_KEY}.{name}") for name in _STAGES]
    for name, before, after in zip(_STAGES[1:], stages[:-1], stages[1:], strict=True):
        _check_widths(cfg, f"{_KEY}.{name}.NUM_CHANNELS", before.widths[:-1], after.widths)
    return schema.HRFPN(
        bottom_up=schema.HRNet(stages=(stages[0], stages[1], stages[2])),
        out_channels=whole(cfg, f"{_KEY}.HRFPN.OUT_CHANNELS"),
        num_levels=len(hrfpn_levels(cfg)),
    )


def hrfpn_levels(cfg: Node) -> tuple[str, ...]:
    """p1, p2, ...: as many as the RoI heads read, which are built whatever reads them (hrfpn.py)."""
    count = len(names(cfg, _ROI_LEVELS, allowed=None))
    if count > _MOST:
        raise refused(cfg, _ROI_LEVELS, f"at most {_MOST} levels, p1 to p{_MOST}, in {BACKBONE}")
    return tuple(f"p{level + 1}" for level in range(count))


def _stage(cfg: Node, key: str) -> schema.HRStage:
    count = whole(cfg, f"{key}.NUM_BRANCHES")
    if count > _MOST:
        raise refused(cfg, f"{key}.NUM_BRANCHES", f"at most {_MOST}")
    return schema.HRStage(
        modules=whole(cfg, f"{key}.NUM_MODULES"),
        block=at(cfg, f"{key}.BLOCK"),
        blocks=_per_branch(cfg, f"{key}.NUM_BLOCKS", count),
        channels=_per_branch(cfg, f"{key}.NUM_CHANNELS", count),
    )


def _per_branch(cfg: Node, key: str, count: int) -> tuple[int, ...]:
    numbers = wholes(cfg, key)
    if len(numbers) != count:
        raise refused(cfg, key, f"one number for each of {count} branches (NUM_BRANCHES)")
    return numbers


def _check_widths(cfg: Node, key: str, kept: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Raises ConfigError when a branch but the coarsest of the stage before has other channels: detectron2 breaks."""
    for branch, (before, after) in enumerate(zip(kept, widths, strict=False)):
        if before != after:
            raise refused(
                cfg, key, f"such that branch {branch} keeps the {before} channels of the stage before; it gives {after}"
            )
