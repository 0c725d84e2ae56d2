"""ResNets by their stages."""

import pytest

from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.read import read_carried, read_lazy_config
from d2deploy.errors import ConfigError

# A mask_rcnn_fpn whose ResNet's stages are a list.
STAGES = """
from detectron2.config import LazyCall as L
from detectron2.modeling.backbone.resnet import BasicBlock, BottleneckBlock, DeformBottleneckBlock, ResNet, make_stage
from ..common.models.mask_rcnn_fpn import model

def stage(number, count, block=BottleneckBlock, **more):
    first = number == 0
    arguments = dict(
        stride_per_block=[1 if first else 2] + [1] * (count - 1),
        in_channels=64 if first else 128 * 2**number,
        out_channels=256 * 2**number,
        bottleneck_channels=64 * 2**number,
        norm="FrozenBN",
    )
    arguments.update(more)
    return L(ResNet.make_stage)(block_class=block, num_blocks=count, **arguments)

N = "FrozenBN"
stages = [stage(number, count) for number, count in enumerate([3, 4, 6, 3])]
model.backbone.bottom_up.stages = stages
{change}
model.backbone.bottom_up.stages = stages
"""
SIZES = {"min_size": 800, "max_size": 1333}


@pytest.fixture
def resnet(tmp_path):
    """Function: change of the stages -> schema.ResNet."""

    def read(change=""):
        (tmp_path / "config.py").write_text(STAGES.replace("{change}", change))
        return lazy_model_config(read_lazy_config(tmp_path / "config.py"), **SIZES).backbone.bottom_up

    return read


def default(*overrides):
    node = read_carried("common/models/mask_rcnn_fpn.py", overrides)
    return lazy_model_config(node, **SIZES).backbone.bottom_up


def test_stages_one_by_one_are_those_made_at_once(resnet):
    assert resnet() == default("model.backbone.bottom_up.stages.stride_in_1x1=false")


FIELDS = {
    "stages[2] = stage(2, 23)": ("depth", 101),
    "stages[1], stages[2] = stage(1, 8), stage(2, 36)": ("depth", 152),
    "stages[3] = stage(3, 3, stride_per_block=[1, 1, 1], dilation=2)": ("res5_dilation", 2),
    "stages[3] = stage(3, 3, DeformBottleneckBlock)": ("deform_on_per_stage", (False, False, False, True)),
    "stages[3] = stage(3, 3, DeformBottleneckBlock, deform_modulated=True)": ("deform_modulated", True),
    "stages[3] = stage(3, 3, DeformBottleneckBlock, deform_num_groups=2)": ("deform_num_groups", 2),
    "stages = [stage(n, c, num_groups=32, bottleneck_channels=256 * 2**n) for n, c in enumerate([3, 4, 23, 3])]": (
        "width_per_group",
        8,
    ),
    "stages = [stage(n, c, stride_in_1x1=True) for n, c in enumerate([3, 4, 6, 3])]": ("stride_in_1x1", True),
    "stages[0] = make_stage(BottleneckBlock, 3, 1, in_channels=64, out_channels=256, bottleneck_channels=64, norm=N)": (
        "depth",
        50,
    ),
}


@pytest.mark.parametrize("change", FIELDS)
def test_what_the_stages_say(change, resnet):
    field, expected = FIELDS[change]
    if field == "res5_dilation":
        with pytest.raises(ConfigError, match="strides double"):  # true of a pyramid
            resnet(change)
        return
    assert getattr(resnet(change), field) == expected


REFUSED = {
    "stages[2] = stage(2, 7)": "stages of 3, 4, 7, 3 blocks .*BottleneckBlock.*, as no ResNet of depth 18",
    "stages[2] = stage(2, 6, num_groups=2)": "groups is 2, but another stage",
    "stages[2] = stage(2, 6, norm='GN')": "norm is 'GN', but another stage",
    "stages[2] = stage(2, 6, in_channels=100)": "in_channels is 100, but the one before gives 512",
    "stages[2] = stage(2, 6, out_channels=100)": "out_channels is 100",
    "stages[2] = stage(2, 6, bottleneck_channels=100)": "bottleneck_channels is 100",
    "stages[2] = stage(2, 6, stride_per_block=[2, 1, 1, 1, 1, 2])": "6 numbers, all 1 but the first",
    "stages[2] = stage(2, 6, stride_per_block=[1] * 6)": "stride is 1, but .* gives 2",
    "stages[2] = stage(2, 6, dilation_per_block=[1] * 6)": "does not know: dilation_per_block",
    "stages[2] = stage(2, 6, block=ResNet)": "block_class is .*ResNet; it must be one of BasicBlock",
    "stages[0] = stage(0, 3, norm='BN')": "norm",
    "stages = stages + stages": "a list of one to four make_stage",
    "stages = 3": "a call of make_default_stages",
    "del stages[1].num_blocks": "has no num_blocks",
}


@pytest.mark.parametrize("change", REFUSED)
def test_stages_that_no_resnet_has_are_refused(change, resnet):
    with pytest.raises(ConfigError, match=REFUSED[change]):
        resnet(change)


def test_shallow_resnets():
    stages = "{_target_: detectron2.modeling.ResNet.make_default_stages, depth: 34, norm: FrozenBN}"
    config = default(f"model.backbone.bottom_up.stages={stages}")
    assert (config.depth, config.res2_out_channels, config.width_per_group) == (34, 64, 1)


def test_a_stage_that_is_not_asked_for_is_not_built():
    overrides = ["model.backbone.bottom_up.out_features=[res2,res3,res4]", "model.backbone.in_features=[res2,res3]"]
    with pytest.raises(ConfigError, match="needs p5 as the last level"):
        default(*overrides)
    levels = "[p2,p3]"
    config = read_carried(
        "common/models/mask_rcnn_fpn.py",
        [
            *overrides,
            "model.backbone.top_block=null",
            f"model.proposal_generator.in_features={levels}",
            "model.proposal_generator.anchor_generator.strides=[4,8]",
            "model.proposal_generator.anchor_generator.sizes=[[32],[64]]",
            f"model.roi_heads.box_in_features={levels}",
            f"model.roi_heads.mask_in_features={levels}",
            "model.roi_heads.box_pooler.scales=[0.25,0.125]",
            "model.roi_heads.mask_pooler.scales=[0.25,0.125]",
        ],
    )
    pyramid = lazy_model_config(config, **SIZES).backbone
    assert (pyramid.in_features, pyramid.top_block) == (("res2", "res3"), "")
    assert pyramid.bottom_up.out_features == ("res2", "res3", "res4")
