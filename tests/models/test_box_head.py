"""Scores by softmax or sigmoid; what a federated loss leaves in a checkpoint."""

from pathlib import Path

import pytest
import torch

from d2deploy.config.yacs.model import model_config
from d2deploy.config.yaml import read_config
from d2deploy.models.box_head import FastRCNNOutputLayers
from d2deploy.models.build import build_model
from d2deploy.weights.match import load_weights
from d2deploy.weights.read import Checkpoint

LVIS = Path(__file__).parents[1] / "config" / "mask_rcnn.yaml"
FEDERATED = ["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", "True", "MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "True"]
CASCADE = ["MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"]


@pytest.mark.parametrize(
    ("use_sigmoid_ce", "expected"),
    [(False, [[0.25, 0.5], [0.2, 0.2]]), (True, [[0.5, 2 / 3], [0.75, 0.75]])],
    ids=["softmax", "sigmoid"],
)
def test_scores_leave_the_background_out(use_sigmoid_ce: bool, expected: list[list[float]]) -> None:
    predictor = FastRCNNOutputLayers(
        in_channels=3,
        num_classes=2,
        cls_agnostic_bbox_reg=False,
        bbox_reg_weights=(1.0, 1.0, 1.0, 1.0),
        use_sigmoid_ce=use_sigmoid_ce,
    )
    predictor.cls_score.weight.data, predictor.cls_score.bias.data = torch.eye(3), torch.zeros(3)
    logits = torch.tensor([[1.0, 2.0, 1.0], [3.0, 3.0, 9.0]]).log()  # the last column is the background
    scores, boxes = predictor(logits, torch.tensor([[0.0, 0.0, 8.0, 8.0]] * 2))
    torch.testing.assert_close(scores, torch.tensor(expected))
    assert boxes.shape == (2, 2, 4)


def network(*overrides: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(model_config(read_config(LVIS, overrides)))


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], ["roi_heads.box_predictor"]),
        (CASCADE, [f"roi_heads.box_predictor.{stage}" for stage in range(3)]),
    ],
    ids=["one stage", "cascade"],
)
def test_class_weights_of_a_federated_loss(overrides: list[str], names: list[str]) -> None:
    """They are loaded where both have them, and nothing is wrong where only one has: no prediction reads them."""
    buffers = [f"{name}.fed_loss_cls_weights" for name in names]
    plain, federated = network(*overrides), network(*overrides, *FEDERATED)
    shapes = {key: tensor.shape for key, tensor in federated.state_dict().items()}
    assert {key: shapes[key] for key in shapes.keys() - plain.state_dict().keys()} == dict.fromkeys(buffers, (80,))
    whole = {key: torch.ones(shape) for key, shape in shapes.items()}
    assert load_weights(federated, Checkpoint(tensors=whole)).ok
    left_over = load_weights(plain, Checkpoint(tensors=whole))
    assert left_over.ok and set(left_over.ignored) == set(buffers)
    lacking = network(*overrides, *FEDERATED)
    lean = {key: tensor for key, tensor in whole.items() if key not in buffers}
    assert load_weights(lacking, Checkpoint(tensors=lean)).ok
    assert not any(tensor.is_meta for tensor in lacking.state_dict().values())
