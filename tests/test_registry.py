"""Users' own parts: registered, read from a config with keys of their own, exported."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d2deploy.cli import main
from d2deploy.errors import ConfigError
from d2deploy.registry import BACKBONE_REGISTRY, CONFIG_REGISTRY, Registry, import_parts

PARTS = """
import torch.nn.functional as F
from d2deploy.modeling import BACKBONE_REGISTRY, CONFIG_REGISTRY, Backbone, CfgNode, Conv2d, ShapeSpec, get_norm


@CONFIG_REGISTRY.register()
def add_toy_config(cfg):
    cfg.MODEL.TOY = CfgNode()
    cfg.MODEL.TOY.CHANNELS = 32


@BACKBONE_REGISTRY.register()
class ToyBackbone(Backbone):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.out_channels = cfg.MODEL.TOY.CHANNELS
        norm = get_norm("BN", self.out_channels)
        self.conv1 = Conv2d(
            input_shape.channels, self.out_channels, 7, stride=16, padding=3, bias=False, norm=norm, activation=F.relu
        )

    def forward(self, image):
        return {"conv1": self.conv1(image)}

    def output_shape(self):
        return {"conv1": ShapeSpec(channels=self.out_channels, stride=16)}
"""
CONFIG = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: ToyBackbone}
  TOY: {CHANNELS: 16}
  RPN: {IN_FEATURES: [conv1], PRE_NMS_TOPK_TEST: 200, POST_NMS_TOPK_TEST: 50}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [conv1], NUM_CLASSES: 2, SCORE_THRESH_TEST: 0.3}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 7}
INPUT: {MIN_SIZE_TEST: 96, MAX_SIZE_TEST: 160}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the parts, a config that uses them; the registries are as before afterwards."""
    (tmp_path / "toy_parts.py").write_text(PARTS)
    (tmp_path / "config.yaml").write_text(CONFIG)
    yield tmp_path
    BACKBONE_REGISTRY._parts.pop("ToyBackbone", None)
    CONFIG_REGISTRY._parts.pop("add_toy_config", None)
    sys.modules.pop("toy_parts", None)


def test_a_users_backbone_is_built_and_exported(folder: Path) -> None:
    import torch

    from d2deploy import export, load_model
    from d2deploy.config.yacs.model import model_config
    from d2deploy.config.yaml import read_config
    from d2deploy.models.build import build_model

    import_parts(str(folder / "toy_parts.py"))
    core = build_model(model_config(read_config(folder / "config.yaml")))
    assert tuple(core.state_dict()["backbone.conv1.weight"].shape) == (16, 3, 7, 7)
    torch.manual_seed(0)
    state = {k: torch.rand(v.shape) * 0.1 if v.is_floating_point() else v for k, v in core.state_dict().items()}
    torch.save({"model": state}, folder / "model.pth")
    model = load_model(folder / "config.yaml", folder / "model.pth")
    for method in ("tracing", "scripting"):
        artifact = export(model, "torchscript", folder / method, method=method)
        assert artifact.manifest.verification and artifact.manifest.verification["ok"]


def test_the_command_line_imports_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "config.yaml"])
    assert stopped.value.code == 2 and "MODEL.TOY" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "config.yaml", "--import", "toy_parts.py"])
    assert stopped.value.code == 0
    assert "own part ToyBackbone" in capsys.readouterr().out


BAD_PARTS = {
    "no such module": ("nothing_there", "cannot be imported: ModuleNotFoundError"),
    "no such file": ("nothing.py", "nothing.py is no file"),
    "an error in it": ("raise ValueError('mine')", "cannot be imported: ValueError: mine"),
    "no syntax": ("def", "cannot be imported: SyntaxError"),
}


@pytest.mark.parametrize("case", BAD_PARTS)
def test_what_cannot_be_imported(case: str, tmp_path: Path) -> None:
    text, message = BAD_PARTS[case]
    name = text
    if " " in text or text == "def":
        name = str(tmp_path / "bad_parts.py")
        Path(name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        import_parts(name)


BAD_BACKBONES = {
    "no Backbone": ("class Mine(nn.Module):\n    def __init__(self, cfg, shape): super().__init__()", "Backbone"),
    "fails": ("class Mine(Backbone):\n    def __init__(self, cfg, shape): cfg.MODEL.NOTHING", "cannot be made"),
    "no such level": (
        "class Mine(Backbone):\n    def __init__(self, cfg, shape): super().__init__()\n"
        "    def output_shape(self): return {'a': ShapeSpec(channels=1, stride=4)}",
        "has no level conv1; it has a",
    ),
}


@pytest.mark.parametrize("case", BAD_BACKBONES)
def test_a_backbone_that_cannot_be_used(case: str, folder: Path) -> None:
    from d2deploy.config.yacs.model import model_config
    from d2deploy.config.yaml import read_config
    from d2deploy.models.build import build_model

    code, message = BAD_BACKBONES[case]
    (folder / "mine.py").write_text(
        f"from torch import nn\nfrom d2deploy.modeling import *\n\n\n@BACKBONE_REGISTRY.register()\n{code}\n"
    )
    import_parts(str(folder / "mine.py"))
    try:
        config = CONFIG.replace("ToyBackbone", "Mine")
        (folder / "mine.yaml").write_text(config.replace("  TOY: {CHANNELS: 16}\n", ""))
        with pytest.raises(ConfigError, match=message):
            build_model(model_config(read_config(folder / "mine.yaml")))
    finally:
        BACKBONE_REGISTRY._parts.pop("Mine", None)
        sys.modules.pop("mine", None)


def test_a_name_is_taken_once() -> None:
    registry = Registry("thing")

    def make(module: str) -> type:
        return type("Thing", (), {"__module__": module})

    first = make("one")
    assert registry.register(first) is first
    registry.register(make("one"))  # the same module, run again
    with pytest.raises(ConfigError, match="'Thing' is registered already, by one"):
        registry.register(make("two"))
