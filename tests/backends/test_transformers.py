"""Vision transformers through every format: the official configs with every width cut, compared with the network."""

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
from d2deploy.workflows.export import export
from d2deploy.workflows.sample import demo_images
from d2deploy.workflows.verify import Budget, verify

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = [f"{row.name}-{method}" for row in FORMATS.values() if not row.is_apart for method in row.methods]
SIZES: dict[str, Any] = {"min_size": 96, "max_size": 160}

SMALL = {
    "model.proposal_generator.pre_nms_topk": [1000, 200],
    "model.proposal_generator.post_nms_topk": [1000, 60],
    "model.proposal_generator.anchor_generator.sizes": [[8], [16], [32], [64], [128]],
    "model.roi_heads.num_classes": 3,
    "model.roi_heads.mask_head.conv_dims": [32, 32],
}
SINGLE = {
    "model.roi_heads.box_head.fc_dims": [64],
    "model.roi_heads.box_predictor.input_shape.channels": 64,
    "model.roi_heads.box_predictor.test_topk_per_image": 40,
}
CASCADE = {
    key: value
    for stage in range(3)
    for key, value in {
        f"model.roi_heads.box_heads.{stage}.conv_dims": [32],
        f"model.roi_heads.box_heads.{stage}.fc_dims": [64],
        f"model.roi_heads.box_predictors.{stage}.input_shape.channels": 64,
        f"model.roi_heads.box_predictors.{stage}.test_topk_per_image": 40,
    }.items()
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": (
        "ViTDet/COCO/mask_rcnn_vitdet_b_100ep",
        {
            **SINGLE,
            "model.roi_heads.box_head.conv_dims": [32],
            "model.backbone.net.embed_dim": 32,
            "model.backbone.net.depth": 2,
            "model.backbone.net.num_heads": 2,
            "model.backbone.net.window_size": 3,
            "model.backbone.net.window_block_indexes": [0],
            "model.backbone.square_pad": 160,
        },
    ),
    "Swin": (
        "ViTDet/COCO/cascade_mask_rcnn_swin_b_in21k_50ep",
        {
            **CASCADE,
            "model.backbone.bottom_up.embed_dim": 16,
            "model.backbone.bottom_up.depths": [2, 1, 1, 1],
            "model.backbone.bottom_up.num_heads": [1, 2, 2, 4],
            "model.backbone.square_pad": 0,
        },
    ),
    "MViT": (
        "MViTv2/mask_rcnn_mvitv2_t_3x",
        {
            **SINGLE,
            "model.backbone.norm": "LN",
            "model.backbone.bottom_up.embed_dim": 16,
            "model.backbone.bottom_up.depth": 5,
            "model.backbone.bottom_up.last_block_indexes": [0, 2, 3, 4],
            "model.backbone.bottom_up.adaptive_window_size": 16,
        },
    ),
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
        name, changes = FAMILIES[family]
        overrides = [f"{key}={value}" for key, value in {**SMALL, **changes}.items()]
        with torch.device("meta"):
            core = build_model(read_model_config(name, overrides, **SIZES))
        shapes = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
        # Masks that are sure of themselves, as in test_families.py.
        arrays = weights.deterministic_state_dict(shapes, 7, {"roi_heads.mask_head.predictor.weight": 64.0})
        # MViT's pooling kernels sum to 0: on the padding they would leave rounding errors for layer norm to enlarge.
        arrays = {key: array + np.float32(0.2) * (".attn.pool_" in key) for key, array in arrays.items()}
        file = tmp_path_factory.mktemp("family") / "model.pth"
        torch.save({"model": {key: torch.from_numpy(array) for key, array in arrays.items()}}, file)
        return load_model(name, file, overrides=overrides, **SIZES)

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_is_the_network(family: str, kind: str, network: Any, tmp_path: Path) -> None:
    model = network(family)
    format, method = kind.split("-")
    artifact = export(model, format, tmp_path / kind, method=method, verify=False)
    report = verify(artifact, against=model, images=demo_images(), budget=Budget(mask_iou=0.95))
    assert report.ok, str(report)
    assert report.total.pairs > 20
