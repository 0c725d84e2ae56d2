"""RetinaNet on what is no pyramid: one level of a plain ResNet."""

import pytest
import torch

from d2deploy.config.yacs.model import model_config
from d2deploy.config.zoo import config_of
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model

PLAIN = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", "['res3', 'res4']"]


def build(in_features: str, sizes: str) -> torch.nn.Module:
    levels = ["MODEL.RETINANET.IN_FEATURES", in_features, "MODEL.ANCHOR_GENERATOR.SIZES", sizes]
    config = model_config(config_of("COCO-Detection/retinanet_R_50_FPN_1x", [*PLAIN, *levels]))
    with torch.device("meta"):
        return build_model(config)


def test_towers_are_as_wide_as_the_level() -> None:
    """As detectron2's RetinaNetHead.from_config: conv_dims are the channels of what comes in."""
    shapes = {name: list(tensor.shape) for name, tensor in build("['res4']", "[[64, 128]]").state_dict().items()}
    assert shapes["head.cls_subnet.0.weight"] == shapes["head.bbox_subnet.6.weight"] == [1024, 1024, 3, 3]
    assert shapes["head.cls_score.weight"] == [2 * 3 * 80, 1024, 3, 3]
    assert shapes["head.bbox_pred.bias"] == [2 * 3 * 4]


def test_one_head_needs_levels_of_one_width() -> None:
    with pytest.raises(ConfigError, match=r"different channels \(res3 512, res4 1024\)"):
        build("['res3', 'res4']", "[[64], [128]]")
