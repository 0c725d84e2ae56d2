"""Every family through every format: small variants of the real networks, compared with the network itself."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from d2deploy import load_model
from d2deploy.backends import FORMATS
from d2deploy.models.build import Model
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() for method in row.methods]

# Every width is cut; the structure is the official configs'.
SMALL = {
    "INPUT": {"MIN_SIZE_TEST": 96, "MAX_SIZE_TEST": 160},
    "MODEL.RESNETS": {"DEPTH": 50, "STEM_OUT_CHANNELS": 16, "RES2_OUT_CHANNELS": 32, "WIDTH_PER_GROUP": 8},
    "MODEL.FPN": {"OUT_CHANNELS": 32},
    "MODEL.RPN": {"PRE_NMS_TOPK_TEST": 200, "POST_NMS_TOPK_TEST": 60},
    "MODEL.ROI_HEADS": {"NUM_CLASSES": 3},
    "MODEL.ROI_BOX_HEAD": {"FC_DIM": 64, "POOLER_RESOLUTION": 7},
    "MODEL.ROI_MASK_HEAD": {"CONV_DIM": 32},
    "MODEL.ROI_KEYPOINT_HEAD": {"CONV_DIMS": [32, 32], "NUM_KEYPOINTS": 4},
    "MODEL.RETINANET": {"NUM_CLASSES": 3, "NUM_CONVS": 2},
    "MODEL.PIXEL_STD": [57.375, 57.12, 58.395],
    "TEST": {"DETECTIONS_PER_IMAGE": 40},
}
PYRAMID = {
    "MODEL.BACKBONE": {"NAME": "build_resnet_fpn_backbone"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res2", "res3", "res4", "res5"]},
    "MODEL.FPN": {"IN_FEATURES": ["res2", "res3", "res4", "res5"]},
    "MODEL.ANCHOR_GENERATOR": {"SIZES": [[8], [16], [32], [64], [128]]},
    "MODEL.RPN": {"IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"]},
    "MODEL.ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["p2", "p3", "p4", "p5"]},
    "MODEL.ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2},
    "MODEL.ROI_MASK_HEAD": {"NUM_CONV": 2},
}
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "deformable": [
        PYRAMID,
        {
            "MODEL.RESNETS": {
                "DEFORM_ON_PER_STAGE": [False, True, True, True],
                "DEFORM_MODULATED": True,
                "DEFORM_NUM_GROUPS": 2,
            }
        },
    ],
    "keypoint": [PYRAMID, {"MODEL": {"KEYPOINT_ON": True}}],
    "cascade": [
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.ROI_HEADS": {"NAME": "CascadeROIHeads"},
            "MODEL.ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True},
        },
    ],
    "c4": [
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.RESNETS": {"OUT_FEATURES": ["res4"]},
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
            "MODEL.ROI_BOX_HEAD": {"POOLER_RESOLUTION": 14},
            "MODEL.ROI_MASK_HEAD": {"NUM_CONV": 0},
        }
    ],
    "dc5": [
        {
            "MODEL.RESNETS": {"OUT_FEATURES": ["res5"], "RES5_DILATION": 2},
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
            "MODEL.RPN": {"IN_FEATURES": ["res5"]},
            "MODEL.ROI_HEADS": {"NAME": "StandardROIHeads", "IN_FEATURES": ["res5"]},
            "MODEL.ROI_BOX_HEAD": {"NAME": "FastRCNNConvFCHead", "NUM_FC": 2},
        }
    ],
    "retinanet": [
        {
            "MODEL": {"META_ARCHITECTURE": "RetinaNet"},
            "MODEL.BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"},
            "MODEL.RESNETS": {"OUT_FEATURES": ["res3", "res4", "res5"]},
            "MODEL.FPN": {"IN_FEATURES": ["res3", "res4", "res5"]},
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16], [32], [64], [96], [128]]},
        }
    ],
    "agnostic, group norm, unaligned": [
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.RESNETS": {"NORM": "GN", "STEM_OUT_CHANNELS": 32, "WIDTH_PER_GROUP": 32},
            "MODEL.FPN": {"NORM": "GN"},
            "MODEL.ROI_BOX_HEAD": {
                "CLS_AGNOSTIC_BBOX_REG": True,
                "POOLER_TYPE": "ROIAlign",
                "POOLER_SAMPLING_RATIO": 2,
                "NUM_CONV": 1,
                "CONV_DIM": 32,
                "NORM": "GN",
                "NUM_FC": 1,
            },
            "MODEL.ROI_MASK_HEAD": {"CLS_AGNOSTIC_MASK": True, "NORM": "GN"},
        },
    ],
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Function: family -> its small network, with reproducible weights that detect things."""
    spec = importlib.util.spec_from_file_location("golden_weights", GOLDEN / "weights.py")
    assert spec is not None and spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)

    @cache
    def make(family: str) -> Model:
        folder = tmp_path_factory.mktemp("family")
        config = folder / "config.yaml"
        config.write_text("VERSION: 2\n")
        changes: dict[str, Any] = {}
        for part in (SMALL, *FAMILIES[family]):
            for prefix, values in part.items():
                changes |= (
                    {f"{prefix}.{k}": v for k, v in values.items()} if isinstance(values, dict) else {prefix: values}
                )
        overrides = [text for key, value in changes.items() for text in (key, str(value))]
        shapes = {key: list(tensor.shape) for key, tensor in _core(config, overrides).state_dict().items()}
        # Masks that are sure of themselves: with logits near 0 every pixel would be a tie.
        gains = {"roi_heads.mask_head.predictor.weight": 64.0}
        arrays = weights.deterministic_state_dict(shapes, 7, gains)
        torch.save({"model": {key: torch.from_numpy(array) for key, array in arrays.items()}}, folder / "model.pth")
        return load_model(config, folder / "model.pth", overrides=overrides)

    return make


def _core(config: Path, overrides: list[str]) -> torch.nn.Module:
    from d2deploy.config.yacs.model import model_config
    from d2deploy.config.yaml import read_config
    from d2deploy.models.build import build_model

    with torch.device("meta"):
        return build_model(model_config(read_config(config, overrides)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_is_the_network(family: str, kind: str, network: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    artifact = export(model, format, tmp_path / kind, method=method, verify=False)
    # A mask of random weights is noise, all border: one pixel of 70 on the other side of 0.5 is an IoU of 0.986. The
    # trained models (test_every_format.py) keep the budget of 0.99.
    report = verify(artifact, against=model, images=demo_images(), budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20
