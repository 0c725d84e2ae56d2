"""Parameter names and shapes against detectron2's own, for every config whose networks detectron2 was asked for."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from d2deploy.config.model import read_model_config
from d2deploy.errors import ConfigError
from d2deploy.models.build import build_model

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFESTS = json.loads(gzip.decompress((GOLDEN / "manifests.json.gz").read_bytes()))

# No official model, so without a name: the config as detectron2 dumped it.
DUMPED = {"/work/oracle/configs_extra/rrpn_R_50_FPN.yaml": "extra/rrpn_R_50_FPN"}
# What is not built, and why; strict: a config that builds must not stand here.
GAPS = {
    "Misc/torchvision_imagenet_R_50.py": "a classifier of torchvision's, to show detectron2's trainer: finds nothing",
}


def test_the_table_is_whole() -> None:
    assert len(MANIFESTS) == 98
    assert MANIFESTS.keys() >= GAPS.keys() | DUMPED.keys()


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_and_shapes(name: str, tmp_path: Path) -> None:
    if name in GAPS:
        with pytest.raises(ConfigError):
            read_model_config(name)
        return
    config_file = Path(name)
    if name in DUMPED:
        config_file = tmp_path / "config.yaml"
        config_file.write_text(
            json.loads((GOLDEN / "detectron2" / DUMPED[name] / "golden.json").read_text())["config_text"]
        )
    with torch.device("meta"):
        core = build_model(read_model_config(config_file))
    assert {key: list(tensor.shape) for key, tensor in core.state_dict().items()} == MANIFESTS[name]
