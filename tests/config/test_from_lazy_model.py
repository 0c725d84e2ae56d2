"""LazyConfigs as networks: equal to their YAML twins and to detectron2's dumps; what does not fit is refused."""

import dataclasses
import json
from pathlib import Path

import pytest

from d2deploy.config import schema
from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.read import read_carried, read_lazy_config, read_lazy_yaml
from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import find, is_zoo_name
from d2deploy.errors import ConfigError, UnknownKey

DUMPS = json.loads((Path(__file__).parent / "lazy_files/dumps.json").read_text())  # config -> detectron2's dump of it
TWINS = [name for name in BASES if is_zoo_name(name) and not find(name).is_lazy]
FPN, C4, CASCADE = (
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py",
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.py",
    "common/models/cascade_rcnn.py",
)
SIZES = {"min_size": 800, "max_size": 1333}


def same_everywhere(config: schema.ModelConfig) -> schema.ModelConfig:
    """Without what YAML says of a C4 model's box head and nothing reads."""
    architecture = config.architecture
    if not isinstance(architecture, schema.GeneralizedRCNN) or not isinstance(
        architecture.roi_heads, schema.Res5ROIHeads
    ):
        return config
    resnet = dataclasses.replace(architecture.roi_heads.resnet, out_features=("res5",), freeze_at=0)
    heads = dataclasses.replace(architecture.roi_heads, resnet=resnet)
    return dataclasses.replace(config, architecture=dataclasses.replace(architecture, roi_heads=heads))


@pytest.mark.parametrize("name", TWINS)
def test_a_lazy_config_is_its_yaml_twin(name):
    assert len(TWINS) == 5
    assert read_model_config(name) == same_everywhere(read_model_config(name.removesuffix(".py")))


@pytest.mark.parametrize("name", DUMPS)
def test_what_is_carried_is_what_detectron2_dumps(name, tmp_path):
    (tmp_path / "config.yaml").write_text(DUMPS[name])
    dump = read_lazy_yaml(tmp_path / "config.yaml")
    # What the dump's makers changed, to save time.
    changes = []
    if "proposal_generator" in dump.model:
        changes.append(f"model.proposal_generator.post_nms_topk={dump.model.proposal_generator.post_nms_topk}")
    if "square_pad" in dump.model.backbone:
        changes.append(f"model.backbone.square_pad={dump.model.backbone.square_pad}")
    ours = lazy_model_config(read_carried(name, changes))
    theirs = lazy_model_config(dump, **SIZES if "ViTDet" not in name else {"min_size": 1024, "max_size": 1024})
    assert ours.dataset and not theirs.weights and not theirs.dataset
    assert dataclasses.replace(ours, weights="", dataset="") == theirs


def config_of(*overrides, name=FPN):
    return lazy_model_config(read_carried(name, overrides), **SIZES)


def test_fast_rcnn_has_no_proposal_generator():
    config = config_of("model.proposal_generator=null", "dataloader.test.mapper.precomputed_proposal_topk=500")
    assert config.architecture.proposals == schema.PrecomputedProposals(topk=500)
    assert config_of("model.proposal_generator=null").architecture.proposals.topk == 1000


def test_a_proposal_network():
    config = config_of("model._target_=detectron2.modeling.ProposalNetwork", "~model.roi_heads")
    assert isinstance(config.architecture, schema.ProposalNetwork)
    assert config.architecture.proposals == config_of().architecture.proposals


def test_a_cascade():
    heads = config_of(name=CASCADE).architecture.roi_heads
    assert heads.cascade == ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15))
    assert heads.box.fc_dims == (1024, 1024) and heads.box.cls_agnostic_bbox_reg
    # The thresholds that count are those of the last stage.
    predictors = "model.roi_heads.box_predictors"
    heads = config_of(f"{predictors}.0.test_score_thresh=0.9", f"{predictors}.2.test_score_thresh=0.1", name=CASCADE)
    assert heads.architecture.roi_heads.detections.score_thresh == 0.1


CHANGES = {
    "model.roi_heads.num_classes=3": ("detections.num_classes", 3),
    "model.roi_heads.box_predictor.test_nms_thresh=0.6": ("detections.nms_thresh", 0.6),
    "model.roi_heads.box_predictor.test_topk_per_image=7": ("detections.detections_per_image", 7),
    "model.roi_heads.box_predictor.use_sigmoid_ce=true": ("box.use_sigmoid_ce", True),
    "model.roi_heads.box_predictor.cls_agnostic_bbox_reg=true": ("box.cls_agnostic_bbox_reg", True),
    "model.roi_heads.mask_head.num_classes=1": ("mask.cls_agnostic_mask", True),
    "model.roi_heads.mask_head.conv_dims=[256,64]": ("mask.conv_dims", (256, 64)),
    "model.roi_heads.mask_in_features=null": ("mask", None),
    "model.roi_heads.mask_pooler.pooler_type=ROIAlign": ("mask.pooler.type", "ROIAlign"),
    "model.roi_heads.box_pooler.sampling_ratio=2": ("box.pooler.sampling_ratio", 2),
    "model.roi_heads.box_head.conv_norm=GN": ("box.norm", "GN"),
}


@pytest.mark.parametrize("override", CHANGES)
def test_what_is_changed_arrives(override):
    name, expected = CHANGES[override]
    value = config_of(override).architecture.roi_heads
    for part in name.split("."):
        value = getattr(value, part)
    assert value == expected


def test_defaults_are_those_of_the_constructors():
    """Not the YAML keys': detectron2's classes have others."""
    removed = (
        "~model.roi_heads.box_predictor.test_score_thresh",
        "~model.proposal_generator.anchor_generator.offset",
        "~model.backbone.bottom_up.freeze_at",
        "~model.backbone.bottom_up.stem.norm",
        "~model.backbone.bottom_up.stages.norm",
        "~model.backbone.bottom_up.stages.stride_in_1x1",
    )
    config = config_of(*removed)
    assert config.architecture.roi_heads.detections.score_thresh == 0
    assert config.architecture.proposals.anchors.offset == 0.5
    resnet = config.backbone.bottom_up
    assert (resnet.freeze_at, resnet.norm, resnet.stride_in_1x1) == (0, "BN", False)


ROI = "model.roi_heads"
RPN = "model.proposal_generator"
# override -> what the message says, beside the place
REFUSED = {
    "model.colour=1": r"model \(GeneralizedRCNN\) has arguments that d2deploy does not know: colour",
    "model.pixel_mean=[]": "model.pixel_mean is .*a number for each channel",
    "model.pixel_mean=[1,2]": "in_channels is 3, but model.pixel_mean gives 2|pixel_std",
    "model.pixel_std=[1,0,1]": "pixel_std is .*numbers above 0",
    "model.pixel_std=[1,1e99,1]": "pixel_std is .*numbers above 0",
    "model.input_format=HSV": "input_format is 'HSV'; it must be one of None, 'BGR', 'RGB'",
    "model.input_format=RGB": "image_format is 'BGR' and model.input_format 'RGB'",
    "model.backbone=3": "model.backbone is 3; it must be a call of one of detectron2's classes",
    "model.backbone._target_=detectron2.modeling.proposal_generator.RPN": "of RPN; d2deploy can build .*ResNet",
    "model.backbone.in_features=[res2,res4]": r"levels whose strides double; theirs are \[4, 16\]",
    "model.backbone.in_features=[res2,res9]": "one or more names of res2, res3, res4, res5",
    "model.backbone.out_channels=128": "in_channels is 256, but the backbone gives 128",
    "model.backbone.out_channels=x": "out_channels is 'x'; it must be a whole number of at least 1",
    "model.backbone.fuse_type=max": "one of 'sum', 'avg'",
    "model.backbone.norm=XN": "norm is 'XN'; it must be a norm that detectron2's get_norm knows",
    "model.backbone.bottom_up.stages.depth=51": "depth is 51; it must be one of 18, 34, 50, 101, 152",
    "model.backbone.bottom_up.stages.dilation=2": "dilation is 2, but .* gives 1",
    "model.backbone.bottom_up.stages.avd=true": "does not know: avd",
    "model.backbone.bottom_up.stem.in_channels=1": "in_channels is 1, but model.pixel_mean gives 3",
    "model.backbone.bottom_up.stem.norm=GN": "norm is 'FrozenBN', but model.backbone.bottom_up.stem.norm gives 'GN'",
    "model.backbone.bottom_up.num_classes=1000": "num_classes is 1000; it must be None, the only one",
    f"{RPN}.head.num_anchors=9": "num_anchors is 9, but the anchor generator gives 3",
    f"{RPN}.head.conv_dims=[0]": "where -1 means as many as come in",
    f"{RPN}.head.box_dim=5": "box_dim is 5; it must be 4",
    f"{RPN}.anchor_generator.strides=[4,8,16,32,32]": r"gives \[4, 8, 16, 32, 64\]",
    f"{RPN}.anchor_generator.sizes=[[32],[64]]": "one list, or one for each of p2, p3, p4, p5, p6",
    f"{RPN}.anchor_generator.sizes=[[32],[64],[128],[256],[512,99]]": r"gives \[3, 3, 3, 3, 6\] anchors a cell",
    f"{RPN}.anchor_generator.sizes=[[0]]": "lists of numbers above 0",
    f"{RPN}.anchor_generator.offset=1": "at least 0 and below 1",
    f"{RPN}.post_nms_topk=1000": "two whole numbers, for training and for testing",
    f"{RPN}.box2box_transform.weights=[1,1]": "4 numbers above 0",
    f"{RPN}.box2box_transform.scale_clamp=2.0": "scale_clamp is 2.0",
    f"~{RPN}.in_features": "has no in_features, which RPN needs",
    f"{ROI}.box_in_features=[p2,p4]": "strides double",
    f"{ROI}.mask_in_features=[p2,p3]": "but model.roi_heads.box_in_features gives",
    f"{ROI}.box_pooler.scales=[0.25,0.125,0.0625,0.1]": "the levels' stride gives",
    f"{ROI}.box_pooler.output_size=[7,8]": "pooled features are square",
    f"{ROI}.box_pooler.output_size=14": "height is 7, but its pooler gives 14",
    f"{ROI}.box_pooler.pooler_type=ROIAlignRotated": "pooler_type is 'ROIAlignRotated'",
    f"{ROI}.box_pooler.canonical_level=5": "canonical_level is 5; it must be 4, the only one",
    f"{ROI}.box_head.fc_dims=[]": "fc_dims is .*one number or more",
    f"{ROI}.box_head.fc_dims=[512]": "input_shape is 1024, but the box head gives 512",
    f"{ROI}.box_head.conv_norm=GN {ROI}.box_head.conv_dims=[100]": "norm GN on 100 channels; it needs a multiple of 32",
    f"{ROI}.box_predictor.num_classes=3": "num_classes is 3, but roi_heads.num_classes gives 80",
    f"{ROI}.box_predictor.test_score_thresh=high": "test_score_thresh is 'high'; it must be a number",
    f"{ROI}.box_predictor.test_topk_per_image=-1": "whole number of at least 1",
    f"{ROI}.box_predictor.use_fed_loss=true": "False where use_sigmoid_ce is",
    f"{ROI}.box_predictor.cls_agnostic_bbox_reg=1": "True or False",
    f"{ROI}.mask_head.num_classes=3": "80 as in roi_heads, or 1",
    f"{ROI}.mask_head.conv_dims=[]": "one number or more",
    f"{ROI}.mask_head.input_shape.channels=1": "channels is 1, but what it looks at gives 256",
    f"{ROI}.mask_head._target_=detectron2.modeling.FPN": "d2deploy can build MaskRCNNConvUpsampleHead there",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_does_not_fit_is_refused(override):
    with pytest.raises(ConfigError, match=REFUSED[override]) as error:
        config_of(*override.split(" "))
    assert len(str(error.value)) < 400


CASCADE_REFUSED = {
    f"{ROI}.box_predictors.1.cls_agnostic_bbox_reg=false": "cls_agnostic_bbox_reg is False, but CascadeROIHeads gives",
    f"{ROI}.box_predictors.1.use_sigmoid_ce=true": "use_sigmoid_ce is True, but the last stage gives False",
    f"{ROI}.box_heads.1.fc_dims=[512,1024]": "the first stage gives",
    f"{ROI}.box_heads=[]": "box_heads is .*a list of calls",
}


@pytest.mark.parametrize("override", CASCADE_REFUSED)
def test_stages_that_differ_are_refused(override):
    with pytest.raises(ConfigError, match=CASCADE_REFUSED[override]):
        config_of(override, name=CASCADE)


def test_a_config_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.py").write_text("train = dict(max_iter=3)")
    with pytest.raises(ConfigError, match="has no model; it has train"):
        lazy_model_config(read_lazy_config(tmp_path / "config.py"))
    (tmp_path / "config.py").write_text("model = dict(a=3)")
    with pytest.raises(ConfigError, match="model is a mapping; it must be a call"):
        lazy_model_config(read_lazy_config(tmp_path / "config.py"))


@pytest.mark.parametrize("target", ["os.system", "detectron2.modeling.GeneralizedRCNNN", "mine.Detector"])
def test_a_target_outside_the_table_is_refused(target):
    with pytest.raises(UnknownKey, match=target):
        config_of(f"model.roi_heads._target_={target}")
    with pytest.raises(UnknownKey, match=target):
        config_of(f"model._target_={target}")


def test_a_class_that_is_no_model_is_refused():
    with pytest.raises(ConfigError, match=r"model is a call of FPN; d2deploy can build .*GeneralizedRCNN"):
        config_of("model._target_=detectron2.modeling.FPN")
