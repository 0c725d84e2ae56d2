"""Every family through every format: small variants of the real networks, compared with the network itself."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2deploy import load_model
from d2deploy.backends import FORMATS
from d2deploy.models.build import Model
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods]

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
    "MODEL.SEM_SEG_HEAD": {"NUM_CLASSES": 8, "CONVS_DIM": 32},
    "MODEL.PANOPTIC_FPN.COMBINE": {"STUFF_AREA_LIMIT": 200, "INSTANCES_CONFIDENCE_THRESH": 0.3},
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
POINT_REND = {
    "MODEL": {"MASK_ON": True},
    "MODEL.ROI_MASK_HEAD": {"NAME": "PointRendMaskHead", "POOLER_TYPE": "", "POINT_HEAD_ON": True, "FC_DIM": 64},
    "MODEL.POINT_HEAD": {"NUM_CLASSES": 3, "FC_DIM": 32, "SUBDIVISION_NUM_POINTS": 196, "SUBDIVISION_STEPS": 3},
}
DEEPLAB = {
    "INPUT.CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [64, 96]},
    "MODEL": {"META_ARCHITECTURE": "SemanticSegmentor"},
    "MODEL.BACKBONE": {"NAME": "build_resnet_deeplab_backbone"},
    "MODEL.RESNETS": {"NORM": "SyncBN", "RES5_DILATION": 2, "OUT_FEATURES": ["res2", "res5"]},
    "MODEL.SEM_SEG_HEAD": {"NUM_CLASSES": 19, "NORM": "SyncBN", "CONVS_DIM": 32, "ASPP_CHANNELS": 32},
}
PANOPTIC_DEEPLAB = {
    "DATASETS": {"TRAIN": ("cityscapes_fine_panoptic_train",)},
    "MODEL": {"META_ARCHITECTURE": "PanopticDeepLab"},
    "MODEL.RESNETS": {"OUT_FEATURES": ["res2", "res3", "res5"]},
    "MODEL.SEM_SEG_HEAD": {
        "NAME": "PanopticDeepLabSemSegHead",
        "IN_FEATURES": ["res2", "res3", "res5"],
        "PROJECT_CHANNELS": [8, 16],
        "HEAD_CHANNELS": 24,
        "USE_DEPTHWISE_SEPARABLE_CONV": True,
    },
    "MODEL.INS_EMBED_HEAD": {"ASPP_CHANNELS": 24, "CONVS_DIM": 16, "HEAD_CHANNELS": 8},
    "MODEL.PANOPTIC_DEEPLAB": {"SIZE_DIVISIBILITY": 96, "USE_DEPTHWISE_SEPARABLE_CONV": True},
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
    "cascade, sigmoid, federated": [
        PYRAMID,
        {
            "MODEL.ROI_HEADS": {"NAME": "CascadeROIHeads"},
            "MODEL.ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True, "USE_SIGMOID_CE": True, "USE_FED_LOSS": True},
        },
    ],
    "point rend": [PYRAMID, POINT_REND],
    "implicit": [
        PYRAMID,
        POINT_REND,
        {
            "MODEL.ROI_MASK_HEAD": {"NAME": "ImplicitPointRendMaskHead"},
            "MODEL.POINT_HEAD": {"NAME": "ImplicitPointHead", "SUBDIVISION_STEPS": 2},
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
    "deeplab v3": [
        DEEPLAB,
        {"MODEL.SEM_SEG_HEAD": {"NAME": "DeepLabV3Head", "IN_FEATURES": ["res5"], "COMMON_STRIDE": 16}},
    ],
    "deeplab v3+": [
        DEEPLAB,
        {
            "INPUT.CROP": {"ENABLED": False},
            "MODEL.SEM_SEG_HEAD": {"NAME": "DeepLabV3PlusHead", "IN_FEATURES": ["res2", "res5"]},
        },
    ],
    "panoptic deeplab": [DEEPLAB, PANOPTIC_DEEPLAB],
    "retinanet, batch norm of each level": [
        {
            "MODEL": {"META_ARCHITECTURE": "RetinaNet"},
            "MODEL.BACKBONE": {"NAME": "build_retinanet_resnet_fpn_backbone"},
            "MODEL.RESNETS": {"OUT_FEATURES": ["res3", "res4", "res5"]},
            "MODEL.FPN": {"IN_FEATURES": ["res3", "res4", "res5"]},
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16], [32], [64], [96], [128]]},
            "MODEL.RETINANET": {"NORM": "SyncBN"},
        }
    ],
    "layer norm": [
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.RESNETS": {"NORM": "LN"},
            "MODEL.FPN": {"NORM": "LN"},
            "MODEL.ROI_BOX_HEAD": {"NUM_CONV": 1, "CONV_DIM": 32, "NORM": "LN", "NUM_FC": 1},
            "MODEL.ROI_MASK_HEAD": {"NORM": "LN"},
        },
    ],
    "layer norm, c4": [
        {
            "MODEL.RESNETS": {"OUT_FEATURES": ["res4"], "NORM": "LN"},
            "MODEL.ANCHOR_GENERATOR": {"SIZES": [[16, 32, 64]]},
            "MODEL.ROI_BOX_HEAD": {"POOLER_RESOLUTION": 14},
        }
    ],
    "proposals": [PYRAMID, {"MODEL": {"META_ARCHITECTURE": "ProposalNetwork"}}],
    "given proposals": [
        PYRAMID,
        {"MODEL": {"MASK_ON": True}, "MODEL.PROPOSAL_GENERATOR": {"NAME": "PrecomputedProposals"}},
    ],
    "given proposals, c4": [
        {
            "MODEL.RESNETS": {"OUT_FEATURES": ["res4"]},
            "MODEL.PROPOSAL_GENERATOR": {"NAME": "PrecomputedProposals"},
            "MODEL.ROI_BOX_HEAD": {"POOLER_RESOLUTION": 14},
        }
    ],
    "rotated": [
        PYRAMID,
        {
            "MODEL.ANCHOR_GENERATOR": {"NAME": "RotatedAnchorGenerator", "ANGLES": [[-90, -30, 30]]},
            "MODEL.PROPOSAL_GENERATOR": {"NAME": "RRPN"},
            "MODEL.RPN": {"BBOX_REG_WEIGHTS": [1, 1, 1, 1, 1]},
            "MODEL.ROI_HEADS": {"NAME": "RROIHeads"},
            "MODEL.ROI_BOX_HEAD": {"POOLER_TYPE": "ROIAlignRotated", "BBOX_REG_WEIGHTS": [10, 10, 5, 5, 1]},
        },
    ],
    "rotated, one level, agnostic, two samples": [
        {
            "MODEL.ANCHOR_GENERATOR": {"NAME": "RotatedAnchorGenerator", "SIZES": [[16, 32]], "ANGLES": [[0, 90]]},
            "MODEL.PROPOSAL_GENERATOR": {"NAME": "RRPN"},
            "MODEL.RPN": {"BBOX_REG_WEIGHTS": [1, 1, 1, 1, 1]},
            "MODEL.ROI_HEADS": {"NAME": "RROIHeads"},
            "MODEL.ROI_BOX_HEAD": {
                "NAME": "FastRCNNConvFCHead",
                "NUM_FC": 1,
                "POOLER_TYPE": "ROIAlignRotated",
                "POOLER_SAMPLING_RATIO": 2,
                "BBOX_REG_WEIGHTS": [10, 10, 5, 5, 1],
                "CLS_AGNOSTIC_BBOX_REG": True,
            },
        }
    ],
    "panoptic": [PYRAMID, {"MODEL": {"META_ARCHITECTURE": "PanopticFPN", "MASK_ON": True}}],
    "point rend semantic": [
        PYRAMID,
        {
            "MODEL": {"META_ARCHITECTURE": "SemanticSegmentor"},
            "MODEL.SEM_SEG_HEAD": {"NAME": "PointRendSemSegHead"},
            # More than there are cells at the first step.
            "MODEL.POINT_HEAD": {
                "NUM_CLASSES": 8,
                "FC_DIM": 32,
                "SUBDIVISION_STEPS": 2,
                "SUBDIVISION_NUM_POINTS": 5000,
                "COARSE_PRED_EACH_LAYER": False,
            },
        },
    ],
    "semantic": [PYRAMID, {"MODEL": {"META_ARCHITECTURE": "SemanticSegmentor"}}],
    "pooled by the largest": [
        PYRAMID,
        {
            "MODEL": {"MASK_ON": True},
            "MODEL.ROI_BOX_HEAD": {"POOLER_TYPE": "ROIPool"},
            "MODEL.ROI_MASK_HEAD": {"POOLER_TYPE": "ROIPool"},
        },
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
        gains = {"roi_heads.mask_head.predictor.weight": 64.0, "roi_heads.mask_head.point_head.predictor.weight": 64.0}
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


# Compared as arrays, below: Predictor's input is an image, its result is what is in it.
RAW = ("proposals", "given proposals", "given proposals, c4")
MAPS = ("deeplab v3", "deeplab v3+", "panoptic deeplab")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in RAW + MAPS])
def test_the_export_is_the_network(family: str, kind: str, network: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    artifact = export(model, format, tmp_path / kind, method=method, verify=False)
    # A mask of random weights is noise, all border: one pixel of 70 on the other side of 0.5 is an IoU of 0.986. The
    # trained models (test_every_format.py) keep the budget of 0.99.
    report = verify(artifact, against=model, images=demo_images(), budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20


# Height and width of each image of a batch, the largest first; one pixel wide; of a size that is no multiple of 32.
BATCHES = {"one": [(96, 128)], "three": [(130, 170), (64, 170), (101, 1)], "one pixel wide": [(64, 1)]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", RAW)
def test_proposals_out_and_in(family: str, kind: str, network: Any, same_rows: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    exported = open_runner(export(model, format, tmp_path / kind, method=method, verify=False))
    eager = open_runner(model)
    found = 0
    for sizes in BATCHES.values():
        arrays = inputs_of(model, sizes, proposals=40)
        found += same_rows(exported(*arrays), eager(*arrays))
    assert found > 100
    if len(exported.inputs) == 4:
        for proposals in (0, 1):
            arrays = inputs_of(model, BATCHES["three"], proposals=proposals)
            same_rows(exported(*arrays), eager(*arrays))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", MAPS)
def test_maps(family: str, kind: str, network: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    exported = open_runner(export(model, format, tmp_path / kind, method=method, verify=False))
    eager = open_runner(model)
    # The last two are smaller than the window of DeepLab's image pooling, along one axis.
    for sizes in (*BATCHES.values(), [(33, 160)], [(200, 70), (9, 9)]):
        arrays = inputs_of(model, sizes, proposals=0)
        for ours, theirs in zip(exported(*arrays), eager(*arrays), strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            assert 0 < np.abs(theirs).max() < np.inf
            assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def inputs_of(model: Model, sizes: list[tuple[int, int]], *, proposals: int) -> list[np.ndarray]:
    """Noise, and boxes in it: `proposals` for the first image, one less for each further one."""
    random = np.random.default_rng(5)
    images = random.uniform(0, 255, (len(sizes), 3, *sizes[0])).astype(np.float32)
    corners = np.sort(random.uniform(0, 1, (len(sizes), proposals, 2, 2)), axis=2)
    corners *= np.array(sizes)[:, None, None, ::-1]
    made = {
        "images": images,
        "image_sizes": np.array(sizes),
        "proposal_boxes": corners.reshape(len(sizes), proposals, 4).astype(np.float32),
        "num_proposals": np.maximum(proposals - np.arange(len(sizes)), 0),
    }
    return [made[tensor.name] for tensor in model.spec.inputs]
