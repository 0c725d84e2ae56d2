"""ResNets that no official config has."""

import pytest
import torch

from d2deploy.config.model import read_model_config
from d2deploy.models.build import build_model


@pytest.mark.parametrize("depth", [18, 34])
def test_shallow_resnets_build(depth: int) -> None:
    overrides = [f"MODEL.RESNETS.DEPTH={depth}", "MODEL.RESNETS.RES2_OUT_CHANNELS=64"]
    with torch.device("meta"):
        core = build_model(read_model_config("COCO-Detection/faster_rcnn_R_50_FPN_3x", overrides))
    shapes = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
    # Two 3x3 convolutions; res2 keeps the stem's channels, so it has no shortcut.
    assert shapes["backbone.bottom_up.res2.0.conv1.weight"] == [64, 64, 3, 3]
    assert "backbone.bottom_up.res2.0.shortcut.weight" not in shapes
    assert shapes["backbone.bottom_up.res5.0.shortcut.weight"] == [512, 256, 1, 1]
    assert "backbone.bottom_up.res2.0.conv3.weight" not in shapes
