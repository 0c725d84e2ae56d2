"""lazy_files/dumps.json: what detectron2 (02b5c4e2) writes for its own LazyConfigs, {config: text}; only their `model`.

They are the `config_text` of shared/golden's folders, made with torch 2.6.0.
"""

import json
import time
from pathlib import Path

import pytest

from d2deploy.config.lazy.node import Call
from d2deploy.config.lazy.read import read_lazy_yaml
from d2deploy.config.lazy.targets import check_targets, short_name
from d2deploy.config.lazy.values import Code, Symbol
from d2deploy.errors import ConfigError, UnknownKey

DUMPS = json.loads((Path(__file__).parent / "lazy_files/dumps.json").read_text())


@pytest.fixture
def read(tmp_path):
    def read(text, overrides=()):
        (tmp_path / "config.yaml").write_text(text)
        return read_lazy_yaml(tmp_path / "config.yaml", overrides)

    return read


def test_the_dumps_are_there():
    assert len(DUMPS) == 14 and all("_target_" in text for text in DUMPS.values())


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_of_detectron2_is_read_whole_and_all_its_classes_are_known(name, read):
    model = read(DUMPS[name]).model
    check_targets(model, "model")
    assert short_name(model.target) in ("GeneralizedRCNN", "RetinaNet", "FCOS", "PanopticFPN")
    assert _calls(model.to_dict()) == sum(
        DUMPS[name].count(tag) for tag in ("_target_:", "ShapeSpec {", "apply:functools")
    )


def _calls(value):
    if isinstance(value, dict):
        return ("_target_" in value) + sum(map(_calls, value.values()))
    return sum(map(_calls, value)) if isinstance(value, list) else 0


def test_references_objects_and_classes_of_a_dump(read):
    model = read(DUMPS["COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py"]).model
    assert model.backbone.in_features == ["res2", "res3", "res4", "res5"]
    assert model.roi_heads.mask_head.num_classes == 80
    shape = model.roi_heads.box_head.input_shape
    assert isinstance(shape, Call) and shape.arguments == {"channels": 256, "height": 7, "stride": None, "width": 7}
    model = read(
        DUMPS["COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.py"], ["model.roi_heads.res5.out_channels=64"]
    ).model
    assert model.roi_heads.res5.block_class == Symbol("detectron2.modeling.backbone.resnet.BottleneckBlock")
    assert model.roi_heads.box_predictor.input_shape.channels == 64


def test_a_partial_and_a_lambda_of_a_dump(read):
    layer = read(
        DUMPS["projects/ViTDet/configs/COCO/cascade_mask_rcnn_vitdet_b_100ep.py"]
    ).model.backbone.net.norm_layer
    assert (short_name(layer.target), layer.is_partial, layer.arguments) == ("torch.LayerNorm", True, {"eps": 1e-06})
    assert layer.positional == []
    norm = read(DUMPS["new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py"]).model.roi_heads.box_head.conv_norm
    assert norm == Code("None.<lambda>", None)


def test_marks_of_hydra_are_no_arguments(read):
    model = read("model: {_target_: a.B, _convert_: all, _recursive_: true, _partial_: true, _args_: [1], c: 2}").model
    assert (model.arguments, model.positional, model.is_partial) == ({"c": 2}, [1], True)
    assert not isinstance(read("model: {a: 1}").model, Call)


def test_plain_tags_are_read_as_in_other_configs(read):
    config = read("model: {a: !!python/tuple [1, [2]], b: !!python/object/apply:eval ['2 ** 3'], 3: x}")
    assert config.model.to_dict() == {"a": [1, [2]], "b": 8, 3: "x"}


BAD = {
    "call": "model: !!python/object/apply:os.system [touch mark]",
    "new": "model: !!python/object/new:os.system [touch mark]",
    "module": "model: !!python/module:os",
    "bytes": "model: !!python/bytes x",
    "object that is a text": "model: !!python/object:os.system x",
    "partial of a call": "model: !!python/object/apply:functools.partial {args: [1]}",
    "partial of a text": "model: !!python/object/apply:functools.partial {state: !!python/tuple [x, []]}",
    "partial as a list": "model: !!python/object/apply:functools.partial [1]",
    "eval": "model: !!python/object/apply:eval ['open(1)']",
    "date": "model: {a: 2020-01-01}",
    "set": "model: {a: !!set {b, c}}",
    "binary": "model: {a: !!binary aGk=}",
    "key": "model: {1.5: 2}",
    "dunder key": "model: {__class__: 2}",
    "key is a list": "model: {[1]: 2}",
    "list": "[1, 2]",
    "empty": "",
    "text": "x",
    "no YAML": "model: [1",
    "alias in itself": "model: &a {b: *a}",
    "nested": "model: " + "[" * 500 + "]" * 500,
    "aliases": "a: &a [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1 or ''}, *a{i - 1 or ''}]\n" for i in range(1, 30)),
    "large": "a: " + "x" * 2_000_000,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_dump_is_told(name, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read(BAD[name])
    assert time.process_time() - start < 5 and not (tmp_path / "mark").exists()


def test_a_class_outside_the_table_is_a_name_until_it_is_refused(read):
    text = "model: {_target_: os.system, a: !!python/name:os.remove '', b: !!python/object:os.X {c: 1}}"
    model = read(text).model
    assert model.a == Symbol("os.remove")
    with pytest.raises(UnknownKey) as error:
        check_targets(model, "model")
    assert all(words in str(error.value) for words in ("model: os.system", "model.a: os.remove", "model.b: os.X"))


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_no_such_file(name, tmp_path):
    with pytest.raises(ConfigError):
        read_lazy_yaml(tmp_path / name)
