"""Parameter names and shapes against detectron2's own, for every config that is supported yet."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from d2deploy.config.detectron2 import model_config
from d2deploy.config.yaml import read_config
from d2deploy.models.build import build_model

MANIFESTS = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden/manifests.json.gz").read_bytes()))

# What each official config says beyond the R50-FPN Mask R-CNN defaults of BASE; only what shapes depend on.
BASE: dict[str, object] = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.MASK_ON": True,
}
X101: dict[str, object] = {
    "MODEL.RESNETS.DEPTH": 101,
    "MODEL.RESNETS.NUM_GROUPS": 32,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
}
GN: dict[str, object] = {
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.FPN.NORM": "GN",
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.NORM": "GN",
    "MODEL.ROI_MASK_HEAD.NORM": "GN",
}
BOXES_ONLY: dict[str, object] = {"MODEL.MASK_ON": False}
CONFIGS: dict[str, dict[str, object]] = {
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml": {},
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml": {},
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x_giou.yaml": {},
    "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml": {"MODEL.RESNETS.DEPTH": 101},
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml": X101,
    "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml": BOXES_ONLY,
    "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml": BOXES_ONLY,
    "COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml": {**BOXES_ONLY, "MODEL.RESNETS.DEPTH": 101},
    "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml": {**BOXES_ONLY, **X101},
    "Cityscapes/mask_rcnn_R_50_FPN.yaml": {"MODEL.ROI_HEADS.NUM_CLASSES": 8},
    "PascalVOC-Detection/faster_rcnn_R_50_FPN.yaml": {**BOXES_ONLY, "MODEL.ROI_HEADS.NUM_CLASSES": 20},
    "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml": {"MODEL.ROI_HEADS.NUM_CLASSES": 1203},
    "Detectron1-Comparisons/mask_rcnn_R_50_FPN_noaug_1x.yaml": {},
    "Misc/mask_rcnn_R_50_FPN_1x_cls_agnostic.yaml": {
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True,
    },
    "Misc/mask_rcnn_R_50_FPN_3x_gn.yaml": GN,
    "Misc/mask_rcnn_R_50_FPN_3x_syncbn.yaml": {
        "MODEL.RESNETS.NORM": "SyncBN",
        "MODEL.RESNETS.STRIDE_IN_1X1": True,
        "MODEL.FPN.NORM": "SyncBN",
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
        "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_names_and_shapes(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("VERSION: 2\n")
    pairs = {**BASE, **CONFIGS[name]}.items()
    config = model_config(read_config(file, [text for key, value in pairs for text in (key, repr(value).strip("'"))]))
    with torch.device("meta"):
        core = build_model(config)
    ours = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
    assert ours == MANIFESTS[name]


@pytest.mark.parametrize("depth", [18, 34])
def test_shallow_resnets_build(depth: int, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"MODEL: {{RESNETS: {{DEPTH: {depth}, RES2_OUT_CHANNELS: 64}}}}\nVERSION: 2\n")
    pairs = BASE.items()
    config = model_config(read_config(file, [text for key, value in pairs for text in (key, repr(value).strip("'"))]))
    with torch.device("meta"):
        shapes = {key: list(tensor.shape) for key, tensor in build_model(config).state_dict().items()}
    # Basic blocks: two 3x3 convolutions; res2 keeps the stem's channels, so it has no shortcut.
    assert shapes["backbone.bottom_up.res2.0.conv1.weight"] == [64, 64, 3, 3]
    assert "backbone.bottom_up.res2.0.shortcut.weight" not in shapes
    assert shapes["backbone.bottom_up.res5.0.shortcut.weight"] == [512, 256, 1, 1]
    assert "backbone.bottom_up.res2.0.conv3.weight" not in shapes
