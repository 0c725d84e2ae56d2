"""HRNet's keys: what is read, and what is refused with the key's name."""

from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.errors import ConfigError

NAME = "COCO-Detection/faster_rcnn_R_50_FPN_1x"
HRNET = "MODEL.HRNET"
LEVELS = ["p1", "p2", "p3", "p4", "p5"]
# What differs from an FPN model in the project's own config (configs/HRNet), but for widths.
BASE = {
    "MODEL.BACKBONE.NAME": "build_hrfpn_backbone",
    "MODEL.RPN.IN_FEATURES": LEVELS,
    "MODEL.ROI_HEADS.IN_FEATURES": LEVELS,
}


def read(changes: dict[str, Any]) -> schema.ModelConfig:
    keys = {**BASE, **changes}
    return read_model_config(NAME, [text for key, value in keys.items() for text in (key, str(value))])


def test_the_defaults_are_w32() -> None:
    backbone = read({}).backbone
    assert backbone == schema.HRFPN(
        bottom_up=schema.HRNet(
            stages=(
                schema.HRStage(modules=1, block="BASIC", blocks=(4, 4), channels=(32, 64)),
                schema.HRStage(modules=4, block="BASIC", blocks=(4, 4, 4), channels=(32, 64, 128)),
                schema.HRStage(modules=3, block="BASIC", blocks=(4, 4, 4, 4), channels=(32, 64, 128, 256)),
            )
        ),
        out_channels=256,
        num_levels=5,
    )


def test_as_many_levels_as_the_roi_heads_read() -> None:
    fewer = {"MODEL.ROI_HEADS.IN_FEATURES": LEVELS[:2], "MODEL.RPN.IN_FEATURES": ["p2"]}
    backbone = read({**fewer, "MODEL.ANCHOR_GENERATOR.SIZES": [[32]]}).backbone
    assert isinstance(backbone, schema.HRFPN) and backbone.num_levels == 2


def test_bottlenecks_give_four_times_their_channels() -> None:
    stage = {f"{HRNET}.STAGE2.BLOCK": "BOTTLENECK", f"{HRNET}.STAGE2.NUM_CHANNELS": [8, 16]}
    backbone = read(stage).backbone
    assert isinstance(backbone, schema.HRFPN) and backbone.bottom_up.stages[0].widths == (32, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{HRNET}.STEM_INPLANES": 32}, "HRNET.STEM_INPLANES is 32; can be: 64"),
        ({f"{HRNET}.STAGE3.BLOCK": "BIG"}, "STAGE3.BLOCK is 'BIG'; can be: 'BASIC', 'BOTTLENECK'"),
        ({f"{HRNET}.STAGE4.BLOCK": "BOTTLENECK"}, "STAGE4.BLOCK is 'BOTTLENECK'; can be: 'BASIC'"),
        ({f"{HRNET}.STAGE2.NUM_MODULES": 0}, "STAGE2.NUM_MODULES is 0"),
        (
            {f"{HRNET}.STAGE2.NUM_BRANCHES": 3},
            "STAGE2.NUM_BLOCKS is [4, 4]; it must be one number for each of 3 branches",
        ),
        ({f"{HRNET}.STAGE2.NUM_BRANCHES": 0}, "STAGE2.NUM_BRANCHES is 0"),
        ({f"{HRNET}.STAGE2.NUM_BRANCHES": 40}, "STAGE2.NUM_BRANCHES is 40; it must be at most 8"),
        ({f"{HRNET}.STAGE3.NUM_BLOCKS": [4, 0, 4]}, "STAGE3.NUM_BLOCKS is [4, 0, 4]"),
        (
            {f"{HRNET}.STAGE4.NUM_CHANNELS": [32, 64, 128]},
            "STAGE4.NUM_CHANNELS is [32, 64, 128]; it must be one number",
        ),
        ({f"{HRNET}.STAGE4.NUM_CHANNELS": None}, "STAGE4.NUM_CHANNELS is None"),
        (
            {f"{HRNET}.STAGE3.NUM_CHANNELS": [40, 64, 128]},
            "STAGE3.NUM_CHANNELS is [40, 64, 128]; it must be such that branch 0 keeps the 32 channels",
        ),
        ({f"{HRNET}.HRFPN.OUT_CHANNELS": 0}, "HRFPN.OUT_CHANNELS is 0"),
        ({f"{HRNET}.STAGE5.BLOCK": "BASIC"}, "MODEL.HRNET.STAGE5"),
        ({"MODEL.RPN.IN_FEATURES": ["p2", "p6"]}, "RPN.IN_FEATURES is ['p2', 'p6']; it must be one or more of p1, p2"),
        ({"MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3"]}, "must be one or more of p1, p2"),
        ({"MODEL.ROI_HEADS.IN_FEATURES": None}, "ROI_HEADS.IN_FEATURES is None"),
        ({"MODEL.ROI_HEADS.IN_FEATURES": [f"p{i}" for i in range(1, 10)]}, "it must be at most 8 levels"),
        ({"MODEL.META_ARCHITECTURE": "PanopticFPN", "MODEL.MASK_ON": True}, "MODEL.META_ARCHITECTURE is 'PanopticFPN'"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(changes)
    assert message in str(caught.value)
