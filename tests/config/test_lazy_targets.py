import pytest

from d2deploy.config.lazy.read import read_lazy_config
from d2deploy.config.lazy.targets import ALLOWED_TARGETS, check_targets, short_name
from d2deploy.errors import ConfigError, UnknownKey

NAMES = {
    "detectron2.modeling.backbone.fpn.FPN": "FPN",
    "detectron2.modeling.backbone.FPN": "FPN",
    "detectron2.modeling.FPN": "FPN",
    "detectron2.modeling.ResNet.make_stage": "ResNet.make_stage",
    "detectron2.modeling.backbone.resnet.ResNet.make_default_stages": "ResNet.make_default_stages",
    "detectron2.layers.ShapeSpec": "ShapeSpec",
    "torch.nn.LayerNorm": "torch.LayerNorm",
    "torch.nn.modules.normalization.LayerNorm": "torch.LayerNorm",
    "detectron2.layers.batch_norm.LayerNorm": "LayerNorm",
    "detectron2.data.transforms.ResizeShortestEdge": "ResizeShortestEdge",
    "detectron2.data.transforms.RandomFlip": "",
    "detectron2.modeling.matcher.Matcher": "",
    "fvcore.common.param_scheduler.MultiStepParamScheduler": "",
    "os.system": None,
    "FPN": None,
    "detectron2.FPN": None,
    "detectron2.modeling.meta_arch.FPN": None,
    "detectron2.modeling.backbone.fpnFPN": None,
    "mine.detectron2.modeling.FPN": None,
    "torch.LayerNorm": None,
    "": None,
}


@pytest.mark.parametrize("target", NAMES)
def test_short_names(target):
    assert short_name(target) == NAMES[target]


def test_every_target_is_found_by_its_own_name_and_ours_are_told_apart():
    assert len(ALLOWED_TARGETS) > 50
    assert all(short_name(full) == ours for full, ours in ALLOWED_TARGETS.items())
    assert len(set(ALLOWED_TARGETS.values())) == len(ALLOWED_TARGETS)


def test_all_unknown_targets_are_named_at_once(tmp_path):
    (tmp_path / "config.py").write_text(
        "from functools import partial\nfrom detectron2.config import LazyCall as L\n"
        "from detectron2.modeling import FPM, FPN, Matcher\nfrom mine import Head, block\n"
        "model = L(FPN)(a=L(FPM)(), heads=[dict(x=L(Head)(block_class=block))], p=partial(Head, 1), ok=[L(FPN)()])\n"
        "from detectron2.modeling.matcher import Matcher\nmodel.m = L(Matcher)(x=L(Head)())"
    )
    config = read_lazy_config(tmp_path / "config.py")
    with pytest.raises(UnknownKey) as error:
        check_targets(config.model, "model")
    lines = sorted(str(error.value).splitlines()[1:-1])
    assert lines == [
        "  model.a: detectron2.modeling.FPM (did you mean FPN?)",
        "  model.heads.0.x.block_class: mine.block",
        "  model.heads.0.x: mine.Head",
        "  model.p: mine.Head",
    ]
    assert "--import" in str(error.value)
    check_targets(config.model.ok[0])


def test_a_config_that_refers_to_what_holds_it_ends(tmp_path):
    (tmp_path / "config.py").write_text("model = dict(a=dict(b='${model}'))")
    with pytest.raises(ConfigError, match="refers to what holds it"):
        check_targets(read_lazy_config(tmp_path / "config.py").model)
