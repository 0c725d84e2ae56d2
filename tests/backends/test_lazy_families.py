"""Families that only LazyConfigs have, through every format: small variants of the official ones."""

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
from d2deploy.config.model import read_model_config
from d2deploy.models.build import Model, build_model
from d2deploy.runner import open_runner
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods]

# ShapeSpecs of a config repeat the pyramid's width.
_DETECTOR = [
    "model.backbone.out_channels=32",
    "model.proposal_generator.head.in_channels=32",
    "model.proposal_generator.anchor_generator.sizes=[[8],[16],[32],[64],[128]]",
    "model.proposal_generator.pre_nms_topk=[200,200]",
    "model.proposal_generator.post_nms_topk=[60,60]",
    "model.roi_heads.num_classes=3",
    "model.roi_heads.box_head.fc_dims=[64]",
    "model.roi_heads.box_head.input_shape.channels=32",
    "model.roi_heads.box_predictor.input_shape.channels=64",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
    "model.roi_heads.mask_head.input_shape.channels=32",
]
_REGNET = [
    *_DETECTOR,
    "model.backbone.bottom_up.stem_width=8",
    "model.backbone.bottom_up.depth=6",
    "model.backbone.bottom_up.w_0=16",
    "model.backbone.bottom_up.w_a=16.0",
    "model.backbone.bottom_up.w_m=1.8",
    "model.backbone.bottom_up.group_width=8",
]
_DENSE = [
    "model.num_classes=3",
    "model.backbone.bottom_up.stages.depth=50",
    "model.backbone.bottom_up.stages.stride_in_1x1=false",
    "model.test_score_thresh=0.05",
    *(f"model.head.input_shape.{level}.channels=32" for level in range(5)),
    "model.backbone.out_channels=32",
    "model.backbone.top_block.in_channels=32",
    "model.head.conv_dims=[32,32]",
]
FAMILIES = {
    "regnet x": ("COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x.py", _REGNET),
    "regnet y, batch norm": (
        "COCO-InstanceSegmentation/mask_rcnn_regnety_4gf_dds_fpn_1x.py",
        [*_REGNET, "model.backbone.bottom_up.norm=BN", "model.backbone.bottom_up.freeze_at=2"],
    ),
    "fcos": ("COCO-Detection/fcos_R_50_FPN_1x.py", _DENSE),
    "fcos, batch norm of each level": ("COCO-Detection/fcos_R_50_FPN_1x.py", [*_DENSE, "model.head.norm=BN"]),
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
        name, overrides = FAMILIES[family]
        file = tmp_path_factory.mktemp("family") / "model.pth"
        with torch.device("meta"):
            core = build_model(read_model_config(name, overrides, min_size=96, max_size=160))
        shapes = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
        # Masks that are sure of themselves, scores that are not: where all are 1, there is no order.
        gains = {"roi_heads.mask_head.predictor.weight": 64.0}
        gains |= dict.fromkeys(("head.cls_score.weight", "head.ctrness.weight", "head.bbox_pred.weight"), 1 / 32)
        arrays = weights.deterministic_state_dict(shapes, 7, gains)
        torch.save({"model": {key: torch.from_numpy(array) for key, array in arrays.items()}}, file)
        return load_model(name, file, overrides=overrides, min_size=96, max_size=160)

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_is_the_network(family: str, kind: str, network: Any, same_rows: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    artifact = export(model, format, tmp_path / kind, method=method, verify=False)
    report = verify(artifact, against=model, images=demo_images(), budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20
    exported, eager = open_runner(artifact), open_runner(model)
    for sizes in ([(64, 1)], [(1, 64)], [(70, 33), (1, 1), (64, 33)]):  # slivers, a batch of three
        images = np.full((len(sizes), 3, *sizes[0]), 110, np.float32)
        same_rows(exported(images, np.array(sizes)), eager(images, np.array(sizes)))
