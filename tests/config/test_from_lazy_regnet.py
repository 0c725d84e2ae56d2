"""RegNets out of four numbers: the published stages, and what is refused."""

import pytest

from d2deploy.config import schema
from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.read import read_carried, read_lazy_config
from d2deploy.errors import ConfigError

NAME = "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x.py"


def regnet(*changes):
    overrides = [f"model.backbone.bottom_up.{change}" for change in changes]
    return lazy_model_config(read_carried(NAME, overrides)).backbone.bottom_up


def test_every_field():
    assert regnet() == schema.RegNet(
        stem="SimpleStem",
        stem_width=32,
        block="ResBottleneckBlock",
        depths=(2, 5, 14, 2),
        widths=(80, 240, 560, 1360),
        strides=(2,) * 4,
        group_widths=(40,) * 4,
        bottleneck_ratios=(1.0,) * 4,
        se_ratio=0.0,
        norm="FrozenBN",
        freeze_at=2,
        out_features=("s1", "s2", "s3", "s4"),
    )


# "Designing Network Design Spaces", tables of RegNetX and RegNetY: depth, w_0, w_a, w_m, group width -> depths, widths.
PUBLISHED = {
    "X 200MF": ((13, 24, 36.44, 2.49, 8), (1, 1, 4, 7), (24, 56, 152, 368)),
    "X 400MF": ((22, 24, 24.48, 2.54, 16), (1, 2, 7, 12), (32, 64, 160, 384)),
    "X 12GF": ((19, 168, 73.36, 2.37, 112), (2, 5, 11, 1), (224, 448, 896, 2240)),
    "X 32GF": ((23, 320, 69.86, 2.0, 168), (2, 7, 13, 1), (336, 672, 1344, 2520)),
    "Y 400MF": ((16, 48, 27.89, 2.09, 8), (1, 3, 6, 6), (48, 104, 208, 440)),
    "Y 4GF": ((22, 96, 31.41, 2.24, 64), (2, 6, 12, 2), (128, 192, 512, 1088)),
    "Y 16GF": ((18, 200, 106.23, 2.48, 112), (2, 4, 11, 1), (224, 448, 1232, 3024)),
}


@pytest.mark.parametrize(("numbers", "depths", "widths"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_stages(numbers, depths, widths):
    names = ("depth", "w_0", "w_a", "w_m", "group_width")
    found = regnet(*(f"{name}={number}" for name, number in zip(names, numbers, strict=True)))
    assert (found.depths, found.widths) == (depths, widths)
    assert found.group_widths == (numbers[-1],) * 4


def test_groups_and_bottlenecks_change_widths():
    """By hand, from the widths 96, 232, 568 and 1376 that the four numbers give first."""
    # A quarter of each, 24, 58, 142 and 344, becomes whole groups of 16.
    assert regnet("bottleneck_ratio=0.25", "group_width=16").widths == (128, 256, 576, 1408)
    # Four times each becomes whole groups of 6 that also divide by 4: multiples of 12.
    assert regnet("bottleneck_ratio=4", "group_width=6").widths == (96, 231, 567, 1377)
    wide = regnet("group_width=100")
    assert (wide.widths, wide.group_widths) == ((96, 200, 600, 1400), (96, 100, 100, 100))


EFFECTS = {
    "se_ratio=0.25": ("se_ratio", 0.25),
    "freeze_at=0": ("freeze_at", 0),
    "norm=SyncBN": ("norm", "SyncBN"),
}


@pytest.mark.parametrize(("change", "expected"), EFFECTS.items(), ids=EFFECTS)
def test_effects(change, expected):
    name, value = expected
    assert getattr(regnet(change), name) == value


REFUSED = {
    "depth=0": "depth is 0; it must be a whole number of at least 1",
    "depth=100000": "at most 1000",
    "w_0=20": "w_0 is 20; it must be a multiple of 8",
    "w_m=1.0": "w_m is 1.0; it must be a number above 1",
    "w_m=1e30": "no block is wider than 65536",
    "w_a=-1": "w_a is -1; it must be a number of at least 0",
    "w_a=1e6": "no block is wider than 65536",
    "bottleneck_ratio=0": "above 0",
    "bottleneck_ratio=1.5": "a whole number where above 1",
    "group_width=0": "at least 1",
    "stride=0": "at least 1",
    "se_ratio=-1": "at least 0",
    "stem_width=0": "at least 1",
    "norm=''": "it must be a norm",
    "norm=GN": "a multiple of 32",
    "out_features=[s5]": "one or more names of stem, s1, s2, s3, s4",
    "stem_class=null": "one of SimpleStem, ResStem",
    "block_class=ResBottleneckBlock": "one of ResBottleneckBlock, ResBasicBlock, VanillaBlock",
    "activation_class=3": "one of ReLU",
    "droppath=0.5": "does not know: droppath",
}


@pytest.mark.parametrize(("change", "message"), REFUSED.items(), ids=REFUSED)
def test_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        regnet(change)


ANYNET = """
from detectron2.config import LazyCall as L
from detectron2.modeling.backbone.regnet import AnyNet, ResBasicBlock, ResStem, SimpleStem, VanillaBlock
from torch import nn
from ..common.models.mask_rcnn_fpn import model

model.backbone.bottom_up = L(AnyNet)(
    stem_class=ResStem, stem_width=16, block_class=VanillaBlock, depths=[1, 2, 1], widths=[16, 24, 32],
    group_widths=[8, 8, 8], strides=[1, 2, 2], bottleneck_ratios=[1.0, 1.0, 1.0], se_ratio=0.0,
    activation_class=nn.ReLU, norm="BN", out_features=["s1", "s2", "s3"],
)
model.backbone.in_features = ["s1", "s2", "s3"]
model.backbone.top_block = None
model.proposal_generator.in_features = ["p2", "p3", "p4"]
model.proposal_generator.anchor_generator.sizes = [[32], [64], [128]]
model.proposal_generator.anchor_generator.strides = [4, 8, 16]
for name in ("box", "mask"):
    model.roi_heads[name + "_in_features"] = ["p2", "p3", "p4"]
    model.roi_heads[name + "_pooler"].scales = [1 / 4, 1 / 8, 1 / 16]
{change}
"""


def anynet(tmp_path, change=""):
    (tmp_path / "config.py").write_text(ANYNET.replace("{change}", change))
    return lazy_model_config(read_lazy_config(tmp_path / "config.py"), min_size=800, max_size=1333)


def test_an_anynet_says_its_stages(tmp_path):
    found = anynet(tmp_path).backbone.bottom_up
    assert (found.stem, found.block) == ("ResStem", "VanillaBlock")
    assert (found.depths, found.widths, found.strides) == ((1, 2, 1), (16, 24, 32), (1, 2, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.backbone.bottom_up.depths = [1, 2]", "Give one each a stage"),
        ("model.backbone.bottom_up.widths = [16, 24, 10**6]", "at most 65536"),
        ("model.backbone.bottom_up.activation_class = nn.GELU", "one of ReLU"),
        ("model.backbone.bottom_up.strides = [1, 2, 4]", "strides double"),
    ],
)
def test_an_anynet_that_is_none(change, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        anynet(tmp_path, change)
