import dataclasses
import json
import operator
from functools import reduce
from pathlib import Path

import pytest

from d2deploy.config import schema
from d2deploy.config.datasets import class_names
from d2deploy.config.keys import names
from d2deploy.config.merge import fitted
from d2deploy.config.node import Node
from d2deploy.config.projects import defaults
from d2deploy.config.yacs.checks import at
from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden"
DUMPS = [
    path
    for path in sorted(GOLDEN.glob("detectron2/**/golden.json"))
    if json.loads(path.read_text())["config"].endswith(".yaml")
]
DEMO = Path(__file__).parents[2] / "src/d2deploy/demo/config.yaml"
PLAIN = Path(__file__).with_name("mask_rcnn.yaml")  # a Mask R-CNN with FPN as a user writes it


def build(*overrides) -> schema.ModelConfig:
    return model_config(read_config(PLAIN, overrides))


@pytest.mark.parametrize("path", DUMPS, ids=lambda p: p.parent.name)
def test_golden_configs_can_be_built(path, tmp_path):
    facts = json.loads(path.read_text())
    file = tmp_path / "config.yaml"
    file.write_text(facts["config_text"])
    config = model_config(read_config(file))
    facts_of = dict(zip(facts["overrides"][::2], facts["overrides"][1::2], strict=True))
    assert config.input.min_size == facts_of["INPUT.MIN_SIZE_TEST"]
    proposals = getattr(config.architecture, "proposals", None)
    if isinstance(proposals, schema.RPN) and "MODEL.RPN.POST_NMS_TOPK_TEST" in facts_of:
        assert proposals.post_nms_topk == facts_of["MODEL.RPN.POST_NMS_TOPK_TEST"]
    names = class_names(config.dataset)
    assert not names or config.detections is None or len(names) == config.detections.num_classes


def test_the_demo():
    config = model_config(read_config(DEMO))
    assert config.backbone.bottom_up.width_per_group == 16 and config.backbone.bottom_up.norm == "BN"
    assert config.architecture.proposals.anchors.sizes == ((12.0,), (24.0,), (48.0,), (96.0,), (160.0,))
    assert config.detections.num_classes == 8 and config.dataset == "shapes_val"


def test_every_field_of_a_users_config():
    assert build() == schema.ModelConfig(
        input=schema.Input(
            min_size=800,
            max_size=1333,
            channel_order="BGR",
            pixel_mean=(103.53, 116.28, 123.675),
            pixel_std=(1.0, 1.0, 1.0),
        ),
        backbone=schema.FPN(
            bottom_up=schema.ResNet(
                depth=50,
                norm="FrozenBN",
                num_groups=1,
                width_per_group=64,
                stride_in_1x1=True,
                stem_out_channels=64,
                res2_out_channels=256,
                res5_dilation=1,
                out_features=("res2", "res3", "res4", "res5"),
                deform_on_per_stage=(False,) * 4,
                deform_modulated=False,
                deform_num_groups=1,
                freeze_at=2,
            ),
            in_features=("res2", "res3", "res4", "res5"),
            out_channels=256,
            norm="",
            fuse_type="sum",
            top_block="maxpool",
            top_in_feature="",
        ),
        architecture=schema.GeneralizedRCNN(
            proposals=schema.RPN(
                in_features=("p2", "p3", "p4", "p5", "p6"),
                conv_dims=(-1,),
                bbox_reg_weights=(1.0, 1.0, 1.0, 1.0),
                pre_nms_topk=1000,
                post_nms_topk=1000,
                nms_thresh=0.7,
                min_box_size=0.0,
                anchors=schema.Anchors(
                    sizes=((32.0,), (64.0,), (128.0,), (256.0,), (512.0,)),
                    aspect_ratios=((0.5, 1.0, 2.0),) * 5,
                    offset=0.0,
                ),
            ),
            roi_heads=schema.ROIHeads(
                in_features=("p2", "p3", "p4", "p5"),
                detections=schema.Detections(
                    num_classes=80, score_thresh=0.05, nms_thresh=0.5, detections_per_image=100
                ),
                cascade=(),
                keypoint=None,
                box=schema.BoxHead(
                    pooler=schema.Pooler(type="ROIAlignV2", resolution=7, sampling_ratio=0),
                    conv_dims=(),
                    fc_dims=(1024, 1024),
                    norm="",
                    bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
                    cls_agnostic_bbox_reg=False,
                    use_sigmoid_ce=False,
                    use_fed_loss=False,
                ),
                mask=schema.MaskHead(
                    pooler=schema.Pooler(type="ROIAlignV2", resolution=14, sampling_ratio=0),
                    conv_dims=(256,) * 5,
                    norm="",
                    cls_agnostic_mask=False,
                ),
            ),
        ),
        weights="detectron2://ImageNetPretrained/MSRA/R-50.pkl",
        dataset="coco_2017_val",
    )


FEDERATED = ["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True"]
# overrides -> where to look -> what must be there
EFFECTS = [
    (["MODEL.MASK_ON", "False"], "roi_heads.mask", None),
    (["MODEL.MASK_ON", "False", "MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"], "roi_heads.mask", None),
    (["DATASETS.TEST", "()"], "dataset", ""),
    (["DATASETS.TEST", "('a', 'b')"], "dataset", "a"),
    (["INPUT.FORMAT", "RGB"], "input.channel_order", "RGB"),
    (["INPUT.MIN_SIZE_TEST", "0"], "input.min_size", 0),
    (["MODEL.PIXEL_MEAN", "[1, 2, 3]"], "input.pixel_mean", (1.0, 2.0, 3.0)),
    (["MODEL.RESNETS.NORM", "SyncBN"], "backbone.bottom_up.norm", "SyncBN"),
    (["MODEL.RESNETS.NORM", "nnSyncBN"], "backbone.bottom_up.norm", "nnSyncBN"),
    (["MODEL.RESNETS.NORM", "GN"], "backbone.bottom_up.norm", "GN"),
    (["MODEL.RESNETS.NORM", "LN"], "backbone.bottom_up.norm", "LN"),
    (["MODEL.FPN.NORM", "naiveSyncBN_N"], "backbone.norm", "naiveSyncBN_N"),
    (["MODEL.FPN.NORM", "naiveSyncBN"], "backbone.norm", "naiveSyncBN"),
    (["MODEL.FPN.FUSE_TYPE", "avg"], "backbone.fuse_type", "avg"),
    (["MODEL.BACKBONE.NAME", "build_fcos_resnet_fpn_backbone"], "backbone.top_in_feature", "p5"),
    (["MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone"], "backbone.top_in_feature", "res5"),
    (["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"], "backbone.bottom_up.depth", 18),
    (["MODEL.RESNETS.OUT_FEATURES", "('stem', 'res2', 'res3', 'res4', 'res5')"], "backbone.out_channels", 256),
    (["MODEL.META_ARCHITECTURE", "ProposalNetwork"], "proposals.post_nms_topk", 1000),
    (["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "proposals.topk", 1000),
    (["MODEL.LOAD_PROPOSALS", "True"], "proposals.post_nms_topk", 1000),
    (["MODEL.RPN.CONV_DIMS", "[-1, 64]"], "proposals.conv_dims", (-1, 64)),
    (["MODEL.RPN.IN_FEATURES", "['p6']", "MODEL.ANCHOR_GENERATOR.SIZES", "[[1]]"], "proposals.in_features", ("p6",)),
    (["MODEL.ANCHOR_GENERATOR.SIZES", "[[8, 16]]"], "proposals.anchors.sizes", ((8.0, 16.0),) * 5),
    (["MODEL.ANCHOR_GENERATOR.SIZES", "[8, 16]"], "proposals.anchors.sizes", ((8.0, 16.0),) * 5),
    (["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[1, 2]"], "proposals.anchors.aspect_ratios", ((1.0, 2.0),) * 5),
    (["MODEL.ROI_HEADS.IN_FEATURES", "['p3']"], "roi_heads.in_features", ("p3",)),
    (["MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlign"], "roi_heads.box.pooler.type", "ROIAlign"),
    (["MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"], "roi_heads.box.pooler.type", "ROIPool"),
    (["MODEL.ROI_BOX_HEAD.NUM_FC", "0", "MODEL.ROI_BOX_HEAD.NUM_CONV", "4"], "roi_heads.box.conv_dims", (256,) * 4),
    (["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True"], "roi_heads.box.use_sigmoid_ce", True),
    (FEDERATED, "roi_heads.box.use_fed_loss", True),
    (["MODEL.ROI_MASK_HEAD.NUM_CONV", "0"], "roi_heads.mask.conv_dims", (256,)),
    (["TEST.AUG.ENABLED", "True"], "input.min_size", 800),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "place", "value"), EFFECTS, ids=lambda v: v[0] if isinstance(v, list) else None)
def test_effects(overrides, place, value):
    config = build(*overrides)
    found = config.architecture if place.startswith(("proposals", "roi_heads")) else config
    for part in place.split("."):
        found = getattr(found, part)
    assert found == value


def test_levels_follow_the_fpn():
    stages = "('res3', 'res4')"
    config = build(
        *("MODEL.RESNETS.OUT_FEATURES", stages, "MODEL.FPN.IN_FEATURES", stages),
        *("MODEL.RPN.IN_FEATURES", "('p3', 'p5')", "MODEL.ANCHOR_GENERATOR.SIZES", "[[1], [2]]"),
        *("MODEL.ROI_HEADS.IN_FEATURES", "('p3', 'p4')"),
    )
    assert config.architecture.proposals.in_features == ("p3", "p5")
    with pytest.raises(ConfigError, match=r"MODEL\.RPN\.IN_FEATURES .* must be one or more of p3, p4, p5"):
        build("MODEL.RESNETS.OUT_FEATURES", stages, "MODEL.FPN.IN_FEATURES", stages)


UNSUPPORTED = {
    "MODEL.META_ARCHITECTURE": ("Mine", ""),
    "MODEL.BACKBONE.NAME": ("build_vit_backbone", "mine"),
    "MODEL.RESNETS.DEPTH": ("51", "0"),
    "MODEL.RESNETS.NORM": ("bn", "ln"),
    "MODEL.RESNETS.RES5_DILATION": ("2",),
    "MODEL.FPN.NORM": ("bn",),
    "MODEL.FPN.FUSE_TYPE": ("max",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("Mine",),
    "MODEL.RPN.HEAD_NAME": ("MyHead",),
    "MODEL.ANCHOR_GENERATOR.NAME": ("RotatedAnchorGenerator",),
    "MODEL.ROI_HEADS.NAME": ("MyHeads",),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "MyHead"),
    "MODEL.ROI_BOX_HEAD.NORM": ("bn",),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignRotated", ""),
    "MODEL.ROI_MASK_HEAD.NAME": ("MyHead", "CoarseMaskHead"),
    "MODEL.ROI_MASK_HEAD.NORM": ("bn",),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("ROIAlignRotated", ""),
    "INPUT.FORMAT": ("YUV-BT.601", "L"),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in UNSUPPORTED.items() for value in values])
def test_what_cannot_be_built_is_said(key, value):
    with pytest.raises(ConfigError, match="not supported yet") as error:
        build(key, value)
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f"  {key} is ") and "; can be: " in line


def test_all_that_cannot_be_built_is_said_at_once():
    with pytest.raises(ConfigError) as error:
        build("MODEL.RPN.HEAD_NAME", "Mine", "MODEL.ROI_BOX_HEAD.NAME", "Mine", "INPUT.FORMAT", "L")
    assert len(str(error.value).splitlines()) == 4


BAD_VALUES = {
    "MODEL.PIXEL_MEAN": ("[1.0]", "[1.0, 2.0, 3.0, 4.0]", "['a', 'b', 'c']", "[1, 2, None]", "[1, 2, True]"),
    "MODEL.PIXEL_STD": ("[1.0, 0.0, 1.0]", "[1.0, -1.0, 1.0]", "[1.0]", "[1e999, 1.0, 1.0]", f"[{10**400}, 1, 1]"),
    "INPUT.MIN_SIZE_TEST": ("-1",),
    "INPUT.MAX_SIZE_TEST": ("0",),
    "MODEL.RESNETS.NUM_GROUPS": ("0",),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ("[]", "[True, False]", "None", "[1, 0, 0, 0]"),
    "MODEL.RESNETS.STRIDE_IN_1X1": ("None",),
    "MODEL.BACKBONE.FREEZE_AT": ("None",),
    "MODEL.WEIGHTS": ("None",),
    "MODEL.MASK_ON": ("None",),
    "MODEL.RESNETS.OUT_FEATURES": ("[]", "['res6']", "['res2', 'res2']", "[2]", "[['res2']]"),
    "MODEL.FPN.IN_FEATURES": ("[]", "['res3', 'res2']", "['res2', 'res4']", "['p2']"),
    "MODEL.FPN.OUT_CHANNELS": ("0",),
    "MODEL.RPN.IN_FEATURES": ("[]", "['p7']", "['p2', 'p2']", "['res4']"),
    "MODEL.RPN.CONV_DIMS": ("[]", "[0]", "[-2]", "[64.0]", "['64']"),
    "MODEL.RPN.BBOX_REG_WEIGHTS": ("(1.0, 1.0, 1.0, 1.0, 1.0)", "(0.0, 1.0, 1.0, 1.0)", "()", "None"),
    "MODEL.RPN.PRE_NMS_TOPK_TEST": ("0",),
    "MODEL.RPN.POST_NMS_TOPK_TEST": ("-1",),
    "MODEL.RPN.NMS_THRESH": ("-0.1", "1e999", "1e300"),
    "MODEL.ANCHOR_GENERATOR.SIZES": ("[]", "[[]]", "[[1], [2]]", "[[1], 2]", "[[0]]", "['a']", "[1, [2]]"),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": ("[]", "[[1.0], [2.0]]", "[[-1.0]]"),
    "MODEL.ANCHOR_GENERATOR.OFFSET": ("1.0", "-0.5"),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": ("-1",),
    "MODEL.ROI_HEADS.IN_FEATURES": ("[]", "['p2', 'p4']", "['p3', 'p2']", "['res4']"),
    "MODEL.ROI_HEADS.NUM_CLASSES": ("0", str(2**31), str(10**30)),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": ("1e999", "None"),
    "MODEL.ROI_BOX_HEAD.NUM_FC": ("0", "-1"),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": ("None",),
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS": ("None", "True"),
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": ("0",),
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": ("-1",),
    "MODEL.ROI_MASK_HEAD.NUM_CONV": ("-1",),
    "TEST.DETECTIONS_PER_IMAGE": ("0", "-1"),
    "DATASETS.TEST": ("(1,)", "None"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_VALUES.items() for value in values])
def test_bad_values_name_the_key_and_what_is_allowed(key, value):
    with pytest.raises(ConfigError) as error:
        build(key, value)
    assert key.rpartition(".")[0] in str(error.value)
    assert "must be" in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.RESNETS.DEPTH", "34"], "RES2_OUT_CHANNELS is 256; it must be 64"),
        (
            ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64", "MODEL.RESNETS.NUM_GROUPS", "2"],
            "NUM_GROUPS is 2; it must be 1",
        ),
        (["MODEL.RESNETS.NORM", "GN", "MODEL.RESNETS.STEM_OUT_CHANNELS", "16"], "multiple of 32"),
        (["MODEL.RESNETS.NORM", "GN", "MODEL.RESNETS.WIDTH_PER_GROUP", "16"], "multiple of 32"),
        (["MODEL.ANCHOR_GENERATOR.SIZES", "[[1], [2], [3], [4], [5, 6]]"], r"gives \[3, 3, 3, 3, 6\] anchors a cell"),
        (["MODEL.FPN.NORM", "GN", "MODEL.FPN.OUT_CHANNELS", "48"], "multiple of 32"),
        (
            [
                *("MODEL.BACKBONE.NAME", "build_fcos_resnet_fpn_backbone"),
                *("MODEL.FPN.IN_FEATURES", "['res3', 'res4']", "MODEL.RPN.IN_FEATURES", "['p3']"),
            ],
            "stages up to res5 in build_fcos_resnet_fpn_backbone",
        ),
        (
            [
                *("MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.BACKBONE.NAME", "build_retinanet_resnet_fpn_backbone"),
                *("MODEL.RETINANET.NORM", "GN", "MODEL.FPN.OUT_CHANNELS", "48"),
            ],
            "MODEL.RETINANET.NORM GN needs a multiple of 32",
        ),
        (["MODEL.ROI_MASK_HEAD.NORM", "GN", "MODEL.ROI_MASK_HEAD.CONV_DIM", "48"], "multiple of 32"),
    ],
)
def test_values_that_do_not_fit_each_other(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(*overrides)


def check_types(value, place="config"):
    for field in dataclasses.fields(value):
        found = getattr(value, field.name)
        if dataclasses.is_dataclass(found):
            check_types(found, f"{place}.{field.name}")
        elif field.type in (int, float, str, bool):
            assert type(found) is field.type, f"{place}.{field.name}"
        else:
            assert found is None or isinstance(found, tuple), f"{place}.{field.name}"


def test_every_field_is_of_its_declared_type():
    """A list, a Node or an int in a float's place would surface far away, in a graph."""
    check_types(build("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", "3", "MODEL.PIXEL_STD", "[1, 1, 1]"))


LEAVES = [key for key in names(defaults()) if not isinstance(at(Node(defaults()), key), Node)]


def outcome(key: str, value: str) -> str:
    """The error that `value` for `key` gives; "" when a well-typed config can be built."""
    tree = read_config(PLAIN).to_dict()
    *sections, last = key.split(".")
    section = reduce(operator.getitem, sections, tree)
    try:
        section[last] = fitted(key, value, section[last], where=lambda _: "a test")
        check_types(model_config(Node(tree)))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", ["None", "[]", "[None]", "['x']", "[[]]", "[{}]", "0", "-1", "0.0", "True", "x"])
def test_no_value_of_any_key_surprises(value):
    """The merge rules let None and any list through: each is either refused or makes a well-typed config."""
    outcomes = {
        key: outcome(key, value) for key in LEAVES if key.startswith(("MODEL.", "INPUT.", "TEST.", "DATASETS."))
    }
    assert any(outcomes.values())
    assert [key for key, said in outcomes.items() if said and key.rpartition(".")[2] not in said] == []
