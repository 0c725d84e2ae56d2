"""Every official model is built, with detectron2's parameter names and shapes where detectron2 was asked for them."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch

from d2deploy.config.model import read_model_config
from d2deploy.config.zoo import zoo_models
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFESTS = {
    name.rpartition("configs_extra/")[2]: shapes  # before it stands a folder of the machine that made the manifests
    for name, shapes in json.loads(gzip.decompress((GOLDEN / "manifests.json.gz").read_bytes())).items()
}

# Configs that are no official models', as their goldens have them: where that is, and the file's name.
WITH_GOLDEN = {
    "rrpn_R_50_FPN.yaml": ("extra/rrpn_R_50_FPN", "config.yaml"),
    "Misc/torchvision_imagenet_R_50.py": ("Misc/torchvision_imagenet_R_50", "config.py"),
}
# What is not built, and what is said of it; strict: a config that builds must not stand here.
GAPS = {
    # A classifier of torchvision's, its class defined in the config: finds nothing. detectron2's trainer shown at work.
    "Misc/torchvision_imagenet_R_50.py": "config.py, line 49: not understood: a class definition",
}
# Without a manifest of their own, and equal to another's. By detectron2's source (projects/TridentNet/tridentnet), a
# TridentConv has the weight and norm of the convolution in whose place it stands, once for all branches; a
# TridentBottleneckBlock has its conv1, conv3 and shortcut under the usual names; RPN and heads add no parameters.
SAME_AS = {
    f"TridentNet/tridentnet_fast_{rest}": f"COCO-Detection/faster_rcnn_{rest}.yaml"
    for rest in ("R_50_C4_1x", "R_50_C4_3x", "R_101_C4_3x")
}
TRANSFORMERS = ("ViTDet/", "MViTv2/")  # all of them are built in tests/models/test_transformers.py
WITHOUT_MANIFEST = sorted(
    {model.name for model in zoo_models() if not model.name.startswith(TRANSFORMERS)}
    - {name.removeprefix("projects/").replace("/configs/", "/").rpartition(".")[0] for name in MANIFESTS}
)


def test_the_table_is_whole() -> None:
    assert len(MANIFESTS) == 98
    assert len(WITHOUT_MANIFEST) == 54
    assert {*MANIFESTS, *WITHOUT_MANIFEST} >= GAPS.keys() | WITH_GOLDEN.keys()
    assert {*WITHOUT_MANIFEST} >= SAME_AS.keys() and MANIFESTS.keys() >= {*SAME_AS.values()}


@pytest.mark.parametrize("name", [*MANIFESTS, *WITHOUT_MANIFEST])
def test_names_and_shapes(name: str, tmp_path: Path) -> None:
    config_file = Path(name)
    if name in WITH_GOLDEN:
        golden, file_name = WITH_GOLDEN[name]
        config_file = tmp_path / file_name
        config_file.write_text(json.loads((GOLDEN / "detectron2" / golden / "golden.json").read_text())["config_text"])
    if name in GAPS:
        with pytest.raises(ConfigError, match=re.escape(GAPS[name])):
            read_model_config(config_file)
        return
    with torch.device("meta"):
        core = build_model(read_model_config(config_file))
    found = {key: list(tensor.shape) for key, tensor in core.state_dict().items()}
    known = SAME_AS.get(name, name)
    assert found and (known in WITHOUT_MANIFEST or found == MANIFESTS[known])
