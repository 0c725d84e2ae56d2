"""DensePose's keys: what is read, and what is refused with the key's name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from d2deploy.config import schema
from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import zoo_models
from d2deploy.errors import ConfigError
from d2deploy.registry import BACKBONE_REGISTRY

CHART, CSE = "DensePose/densepose_rcnn_R_50_FPN_s1x", "DensePose/cse/densepose_rcnn_R_50_FPN_soft_animals_finetune_4k"
HUMAN = "DensePose/cse/densepose_rcnn_R_50_FPN_s1x"
DEEPLAB = "DensePose/densepose_rcnn_R_50_FPN_DL_WC2M_s1x"
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
NONLOCAL = f"{HEAD}.DEEPLAB.NONLOCAL_ON"
MAPPING, EMBEDDERS = "DATASETS.CLASS_TO_MESH_NAME_MAPPING", f"{HEAD}.CSE.EMBEDDERS"
OFFICIAL = [model.name for model in zoo_models() if model.name.startswith("DensePose/")]
SNAKE = '        snake: {TYPE: vertex_direct, NUM_VERTICES: 10, IS_TRAINABLE: true, INIT_FILE: ""}'
BIRD = "        bird: {TYPE: vertex_feature, NUM_VERTICES: 20, FEATURE_DIM: 5}"
# A user's file, with a number where detectron2's own have text, keys of training alone, and two meshes of its own.
FILE = f"""
MODEL:
  ROI_HEADS: {{NAME: DensePoseROIHeads, NUM_CLASSES: 3, IN_FEATURES: [p2, p3]}}
  BACKBONE: {{NAME: build_resnet_fpn_backbone}}
  RESNETS: {{OUT_FEATURES: [res2, res3, res4, res5]}}
  FPN: {{IN_FEATURES: [res2, res3, res4, res5]}}
  ANCHOR_GENERATOR: {{SIZES: [[32], [64], [128], [256], [512]]}}
  RPN: {{IN_FEATURES: [p2, p3, p4, p5, p6]}}
  ROI_BOX_HEAD: {{NAME: FastRCNNConvFCHead, NUM_FC: 2}}
  MASK_ON: true
  ROI_MASK_HEAD: {{NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 4}}
  ROI_DENSEPOSE_HEAD:
    NAME: DensePoseV1ConvXHead
    PREDICTOR_NAME: DensePoseEmbeddingPredictor
    LOSS_NAME: MyLoss
    INDEX_WEIGHTS: 2.0
    CSE:
      EMBED_SIZE: 8
      EMBEDDERS:
{SNAKE}
{BIRD}
DATASETS:
  CLASS_TO_MESH_NAME_MAPPING: {{2: snake, "0": snake}}
  WHITELISTED_CATEGORIES: {{mine: [1, 2]}}
BOOTSTRAP_DATASETS: [{{DATASET: chimpnsee, RATIO: 1.0}}]
BOOTSTRAP_MODEL: {{WEIGHTS: x.pkl}}
DENSEPOSE_EVALUATION: {{TYPE: cse}}
"""


def read(name: str, changes: dict[str, Any]) -> schema.ROIHeads:
    config = read_model_config(name, [text for key, value in changes.items() for text in (key, str(value))])
    heads = config.architecture.roi_heads
    assert isinstance(heads, schema.ROIHeads)
    return heads


def head(name: str, changes: dict[str, Any] | None = None) -> schema.DensePoseHead:
    found = read(name, changes or {}).dense_pose
    assert found is not None
    return found


def test_every_field_of_an_official_model() -> None:
    assert head(CHART) == schema.DensePoseHead(
        pooler=schema.Pooler(type="ROIAlign", resolution=28, sampling_ratio=2),
        decoder=schema.DensePoseDecoder(out_channels=256, conv_dims=256, norm="", common_stride=4),
        is_deeplab=False,
        use_nonlocal=False,
        norm="",
        conv_dims=(512,) * 8,
        kernel_size=3,
        predictor=schema.ChartPredictor(
            num_coarse=2,
            num_patches=24,
            deconv_kernel=4,
            up_scale=2,
            uv_confidence="",
            segm_confidence=False,
            segm_epsilon=0.01,
        ),
    )


def test_official_models_by_their_names() -> None:
    assert len(OFFICIAL) == 47
    for name in OFFICIAL:
        found = head(name)
        predictor, is_cse = found.predictor, "/cse/" in name
        assert found.is_deeplab == ("_DL_" in name) and found.norm == ("GN" if found.is_deeplab else "")
        assert isinstance(predictor, schema.EmbeddingPredictor if is_cse else schema.ChartPredictor)
        assert (found.decoder is None) == name.endswith("legacy") and found.side == (112 if found.decoder else 56)
        assert predictor.num_coarse == (2 if found.decoder else 15)
        if isinstance(predictor, schema.EmbeddingPredictor):
            vertices = [(mesh.feature_dim, int(mesh.name.rpartition("_")[2])) for mesh in predictor.meshes]
            assert vertices == [(256, mesh.num_vertices) for mesh in predictor.meshes]
        else:
            uv = "iid_iso" if "WC1" in name else "indep_aniso" if "WC2" in name else ""
            assert (predictor.uv_confidence, predictor.segm_confidence) == (uv, "WC1M" in name or "WC2M" in name)


def test_meshes_are_in_the_configs_order_and_know_their_classes() -> None:
    predictor = head(CSE).predictor
    assert isinstance(predictor, schema.EmbeddingPredictor) and predictor.embed_size == 16
    assert [(mesh.name, mesh.classes) for mesh in predictor.meshes] == [
        *(("cat_5001", (2,)), ("dog_5002", (3,)), ("sheep_5004", (7,)), ("horse_5004", (6,)), ("zebra_5002", (8,))),
        *(("giraffe_5002", (5,)), ("elephant_5002", (4,)), ("cow_5002", (1,)), ("bear_4936", (0,))),
    ]


def test_a_users_own_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(FILE)
    heads = read(str(tmp_path / "config.yaml"), {})
    assert heads.mask is not None and heads.dense_pose is not None
    predictor = heads.dense_pose.predictor
    assert isinstance(predictor, schema.EmbeddingPredictor)
    assert predictor.meshes == (
        schema.Mesh(name="snake", num_vertices=10, feature_dim=0, classes=(0, 2)),
        schema.Mesh(name="bird", num_vertices=20, feature_dim=5, classes=()),
    )


@pytest.mark.parametrize(("bodies", "classes"), [((SNAKE, BIRD), [(), ()]), ((BIRD,), [(0, 1, 2)])])
def test_without_a_mapping_all_classes_have_the_only_mesh(
    bodies: tuple[str, ...], classes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    text = FILE.replace('{2: snake, "0": snake}', "{}")
    for body in {SNAKE, BIRD} - {*bodies}:
        text = text.replace(body, "")
    (tmp_path / "config.yaml").write_text(text)
    predictor = head(str(tmp_path / "config.yaml")).predictor
    assert isinstance(predictor, schema.EmbeddingPredictor)
    assert [mesh.classes for mesh in predictor.meshes] == classes


def test_off_it_is_a_plain_network() -> None:
    name = f"{HEAD}.NAME"
    plain = read(CHART, {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"})
    assert plain.dense_pose is None and read(CHART, {"MODEL.DENSEPOSE_ON": False, name: "?"}) == plain
    masks = {"MODEL.MASK_ON": True, "MODEL.KEYPOINT_ON": True}
    both = read(CHART, masks)
    assert both.dense_pose == head(CHART) and both.mask is not None and both.keypoint is not None


def test_confidence_keys_count_for_one_predictor_alone() -> None:
    keys = {f"{HEAD}.UV_CONFIDENCE.ENABLED": True, f"{HEAD}.SEGM_CONFIDENCE.ENABLED": True}
    plain = head(
        CHART, {**keys, f"{HEAD}.PREDICTOR_NAME": "DensePoseChartPredictor", f"{HEAD}.UV_CONFIDENCE.TYPE": "?"}
    )
    assert plain == head(CHART)
    changed = head(CHART, {**keys, f"{HEAD}.SEGM_CONFIDENCE.EPSILON": 0.5}).predictor
    assert isinstance(changed, schema.ChartPredictor)
    assert (changed.uv_confidence, changed.segm_confidence, changed.segm_epsilon) == ("iid_iso", True, 0.5)


# kernel, pooled side, enlargement -> cells a side. By torch's rule of ConvTranspose2d, with stride 2 and a padding of
# int(kernel / 2 - 1) (predictors/chart.py): 2 * (side - 1) - 2 * padding + kernel.
@pytest.mark.parametrize(
    ("kernel", "pooled", "scale", "side"),
    [(4, 28, 2, 112), (4, 14, 2, 56), (2, 28, 1, 56), (3, 28, 2, 114), (5, 7, 1, 15), (6, 7, 3, 42), (7, 7, 1, 15)],
)
def test_cells_a_side(kernel: int, pooled: int, scale: int, side: int) -> None:
    sizes = {f"{HEAD}.DECONV_KERNEL": kernel, f"{HEAD}.POOLER_RESOLUTION": pooled, f"{HEAD}.UP_SCALE": scale}
    assert head(CHART, sizes).side == side == (2 * (pooled - 1) - 2 * int(kernel / 2 - 1) + kernel) * scale


def test_no_convolutions_and_a_non_local_block() -> None:
    none = {f"{HEAD}.NUM_STACKED_CONVS": 0}
    assert head(CHART, none).conv_dims == () == head(DEEPLAB, {**none, f"{HEAD}.CONV_HEAD_DIM": 256}).conv_dims
    nonlocal_on = {NONLOCAL: 1, f"{HEAD}.DEEPLAB.NORM": ""}
    assert head(DEEPLAB, nonlocal_on) == dataclasses.replace(head(DEEPLAB), use_nonlocal=True, norm="")
    assert head(CHART, nonlocal_on) == head(CHART)  # not read there


def test_levels_of_a_plain_resnet_have_channels_of_their_own() -> None:
    c4 = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.RESNETS.OUT_FEATURES": ["stem", "res4"],
        "MODEL.RPN.IN_FEATURES": ["res4"],
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32]],
        f"{HEAD}.DECODER_COMMON_STRIDE": 16,
    }
    found = head(DEEPLAB, {**c4, "MODEL.ROI_HEADS.IN_FEATURES": ["res4"], f"{HEAD}.DECODER_NUM_CLASSES": 1024})
    assert found.decoder is not None and found.decoder.out_channels == 1024
    with pytest.raises(ConfigError, match="DECODER_NUM_CLASSES is 256; it must be 1024"):
        head(DEEPLAB, {**c4, "MODEL.ROI_HEADS.IN_FEATURES": ["res4"]})
    with pytest.raises(ConfigError, match="DECODER_NUM_CLASSES is 256; it must be 64"):
        head(DEEPLAB, {**c4, "MODEL.ROI_HEADS.IN_FEATURES": ["stem"]})


def test_a_users_own_backbone_has_channels_that_only_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONE_REGISTRY._parts, "OwnBackbone", object)
    sizes = {"MODEL.BACKBONE.NAME": "OwnBackbone", f"{HEAD}.DECODER_NUM_CLASSES": 64}
    assert head(DEEPLAB, sizes).decoder == schema.DensePoseDecoder(
        out_channels=64, conv_dims=256, norm="", common_stride=4
    )


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    (CHART, {f"{HEAD}.NAME": "DensePoseHead"}, ".NAME is 'DensePoseHead'; can be: 'DensePoseV1ConvXHead', 'DensePoseD"),
    (CHART, {f"{HEAD}.POOLER_TYPE": "ROIAlignRotated"}, ".POOLER_TYPE is 'ROIAlignRotated'"),
    (CHART, {f"{HEAD}.PREDICTOR_NAME": "DensePoseEmbeddingWithConfidencePredictor"}, "can be: 'DensePoseChartPredict"),
    (CHART, {f"{HEAD}.UV_CONFIDENCE.TYPE": "iso"}, ".UV_CONFIDENCE.TYPE is 'iso'; can be: 'iid_iso', 'indep_aniso'"),
    (CHART, {f"{HEAD}.UV_CONFIDENCE.ENABLED": None}, ".UV_CONFIDENCE.ENABLED is None; it must be true or false"),
    (CHART, {f"{HEAD}.SEGM_CONFIDENCE.EPSILON": -0.1}, ".SEGM_CONFIDENCE.EPSILON is -0.1"),
    (CHART, {f"{HEAD}.DECODER_NORM": "XN"}, ".DECODER_NORM is 'XN'"),
    (CHART, {f"{HEAD}.DECODER_NORM": "GN", f"{HEAD}.DECODER_CONV_DIMS": 20}, ".DECODER_CONV_DIMS is 20"),
    (CHART, {f"{HEAD}.DECODER_NUM_CLASSES": 128}, ".DECODER_NUM_CLASSES is 128; it must be 256"),
    (CHART, {f"{HEAD}.DECODER_COMMON_STRIDE": 0}, ".DECODER_COMMON_STRIDE is 0"),
    (CHART, {f"{HEAD}.DECODER_ON": None}, ".DECODER_ON is None"),
    (CHART, {"MODEL.DENSEPOSE_ON": None}, "MODEL.DENSEPOSE_ON is None"),
    (CHART, {f"{HEAD}.CONV_HEAD_KERNEL": 2}, ".CONV_HEAD_KERNEL is 2; it must be odd"),
    (CHART, {f"{HEAD}.CONV_HEAD_DIM": 0}, ".CONV_HEAD_DIM is 0"),
    (CHART, {f"{HEAD}.NUM_STACKED_CONVS": -1}, ".NUM_STACKED_CONVS is -1"),
    (CHART, {f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": 1}, ".NUM_COARSE_SEGM_CHANNELS is 1"),
    (CHART, {f"{HEAD}.NUM_PATCHES": 0}, ".NUM_PATCHES is 0"),
    (CHART, {f"{HEAD}.DECONV_KERNEL": 1}, ".DECONV_KERNEL is 1"),
    (CHART, {f"{HEAD}.UP_SCALE": 0}, ".UP_SCALE is 0"),
    (CHART, {f"{HEAD}.POOLER_RESOLUTION": 0}, ".POOLER_RESOLUTION is 0"),
    (CHART, {f"{HEAD}.POOLER_SAMPLING_RATIO": -1}, ".POOLER_SAMPLING_RATIO is -1"),
    (DEEPLAB, {f"{HEAD}.DEEPLAB.NORM": "BN"}, ".DEEPLAB.NORM is 'BN'; can be: '', 'GN'"),
    (DEEPLAB, {NONLOCAL: 2}, ".DEEPLAB.NONLOCAL_ON is 2; can be: 0, 1"),
    (DEEPLAB, {f"{HEAD}.CONV_HEAD_DIM": 100}, ".CONV_HEAD_DIM is 100; MODEL.ROI_DENSEPOSE_HEAD.DEEPLAB.NORM GN"),
    (DEEPLAB, {f"{HEAD}.NUM_STACKED_CONVS": 0}, ".NUM_STACKED_CONVS is 0; it must be 1 or more where CONV_HEAD_DIM is"),
    (DEEPLAB, {"MODEL.FPN.OUT_CHANNELS": 80, f"{HEAD}.DECODER_ON": False}, "a multiple of 32 channels, not 80"),
    (DEEPLAB, {"MODEL.FPN.OUT_CHANNELS": 80, f"{HEAD}.DECODER_NUM_CLASSES": 80}, "a multiple of 32 channels, not 80"),
    (DEEPLAB, {NONLOCAL: 1, f"{HEAD}.POOLER_RESOLUTION": 1}, "RESOLUTION is 1; it must be at least 2"),
    (HUMAN, {f"{HEAD}.CSE.EMBED_SIZE": 0}, ".CSE.EMBED_SIZE is 0"),
    (HUMAN, {f"{EMBEDDERS}.smpl_27554.TYPE": "vertex"}, ".smpl_27554.TYPE is 'vertex'; it must be 'vertex_direct' or"),
    (HUMAN, {f"{EMBEDDERS}.smpl_27554.NUM_VERTICES": 0}, ".smpl_27554.NUM_VERTICES is 0"),
    (HUMAN, {f"{EMBEDDERS}.smpl_27554.FEATURE_DIM": 0}, ".smpl_27554.FEATURE_DIM is 0"),
    (HUMAN, {f"{MAPPING}.0": "smpl"}, f"{MAPPING}.0 is 'smpl'; {EMBEDDERS} has: smpl_27554."),
    (CSE, {"MODEL.ROI_HEADS.NUM_CLASSES": 3}, f"{MAPPING} has a key '3'; it must be a class, 0 to 2."),
    (CHART, {f"{HEAD}.PREDICTOR_NAME": "DensePoseEmbeddingPredictor"}, f"{EMBEDDERS} has no mesh."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), REFUSALS)
def test_refusals(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        head(name, changes)
    assert message in str(caught.value)


# Text of the file -> what stands there instead, and what is said of it.
BAD_SECTIONS = {
    "no section": ("snake: {TYPE: vertex_direct, NUM_VERTICES: 10,", "snake: 5 #", ".snake is 5; it must be a section"),
    "no TYPE": ("TYPE: vertex_direct, ", "", ".snake is Node({'NUM_VERTICES': 10, "),
    "no FEATURE_DIM": (", FEATURE_DIM: 5", "", ".bird has no FEATURE_DIM"),
    "a dot": ("bird:", "a.bird:", "has a mesh called 'a.bird'"),
    "no number": ("2: snake", "cat: snake", f"{MAPPING} has a key 'cat'; it must be a class, 0 to 2"),
    "twice the same": ('"0": snake', '"02": snake', "has a key '02'"),
    "a list of meshes": ("2: snake", "2: [snake]", f"{MAPPING}.2 is ['snake']"),
    "a list": ('{2: snake, "0": snake}', "[snake]", f"{MAPPING} in "),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD_SECTIONS.values(), ids=BAD_SECTIONS)
def test_bad_sections(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert FILE.count(old) == 1
    (tmp_path / "config.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read_model_config(tmp_path / "config.yaml")
    assert message in str(caught.value)
