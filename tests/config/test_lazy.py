import subprocess
import sys
from pathlib import Path

import pytest

from d2deploy.config.lazy.node import Call, LazyNode
from d2deploy.config.lazy.read import is_lazy, read_lazy_config
from d2deploy.config.lazy.values import Code, Symbol
from d2deploy.errors import ConfigError

SAMPLES = Path(__file__).parent / "lazy_files"


@pytest.fixture
def read(tmp_path):
    """The config of a text, under a name of its own; other files of the folder are given by keyword."""

    def read(text, **others):
        for name, content in {"config": text, **others}.items():
            (tmp_path / f"{name}.py").write_text(content)
        return read_lazy_config(tmp_path / "config.py")

    return read


def test_a_detector_and_its_imports():
    config = read_lazy_config(SAMPLES / "common/detector.py")
    assert sorted(config) == ["model", "numbers"]
    model = config.model
    assert isinstance(model, Call) and model.target == "detectron2.modeling.GeneralizedRCNN"
    assert sorted(model.arguments) == ["backbone", "pixel_mean", "pixel_std", "roi_heads"]
    assert model.backbone.bottom_up.stages.to_dict() == {
        "_target_": "detectron2.modeling.backbone.ResNet.make_default_stages",
        "depth": 18,
        "norm": "FrozenBN",
    }
    assert model.backbone.in_features == ["res2", "res3"]
    assert model.roi_heads.box_predictor.num_classes == 5
    assert model.roi_heads.box_head.fc_dims == [32, 32]
    assert model.roi_heads.box_head.input_shape.arguments == {"channels": 16, "height": 7, "width": 7}
    assert (model.pixel_mean, model.pixel_std) == ([1.5, 2.5, 3.5], [0.5, 1.0, 1.5])


def test_a_config_on_top_of_others():
    config = read_lazy_config(SAMPLES / "leaf/cascade.py")
    assert sorted(config) == ["dataloader", "lr", "model"]
    heads = config.model.roi_heads
    assert heads.target == "detectron2.modeling.roi_heads.CascadeROIHeads" and "box_head" not in heads
    assert [(head.fc_dims, head.classes, head.score) for head in heads.box_heads] == [([4], 5, 0.1), ([16], 5, 0.2)]
    assert config.model.backbone.bottom_up.stages.depth == 101
    assert "norm" not in config.model.backbone.bottom_up.stem
    source = 'lambda c: NaiveSyncBatchNorm(c, stats_mode="N")'
    assert config.model.norm == Code(source, "detectron2.layers.batch_norm.NaiveSyncBatchNorm")
    assert config.model.backbone.norm == config.model.norm
    layer = config.model.norm_layer
    assert (layer.target, layer.is_partial, layer.arguments) == ("torch.nn.LayerNorm", True, {"eps": 1e-6})
    assert config.lr.arguments == {"milestones": [28, 29], "updates": 7}


def test_the_test_loader_has_the_size_of_images():
    mapper = read_lazy_config(SAMPLES / "leaf/cascade.py").dataloader.test.mapper
    (resize,) = mapper.augmentations
    assert (resize.target, resize.short_edge_length, resize.max_size) == (
        "detectron2.data.transforms.ResizeShortestEdge",
        640,
        900,
    )
    assert mapper.image_format == "RGB"


ARITHMETIC = {
    "7 // 2 + 2 ** 3 - 1.5 * 2": 8.0,
    "-7 % 3": 2,
    "[1, 2] + [3]": [1, 2, 3],
    "2 * (1, 2)": [1, 2, 1, 2],
    "'a' + 'b'": "ab",
    "f'{3} {0.5:.2f} {\"x\"}'": "3 0.50 x",
    "list(range(3)) + list(range(6, 8))": [0, 1, 2, 6, 7],
    "[a for a in range(6) if a % 2]": [1, 3, 5],
    "[a * b for a in (1, 2) for b in (3, 4)]": [3, 4, 6, 8],
    "{k: v for k, v in zip('ab', (1, 2))}": {"a": 1, "b": 2},
    "{**dict(a=1, b=2), 'b': 3}": {"a": 1, "b": 3},
    "[*range(2), 5]": [0, 1, 5],
    "max(3, 1) + min([4, 2]) + sum(x for x in (1, 1)) + len('abc') + abs(-1)": 11,
    "sorted([3, 1, 2], reverse=True)[1:]": [2, 1],
    "1 if 2 > 1 and not None else 0": 1,
    "1 < 2 <= 2 != 3": True,
    "None or 'x'": "x",
    "2 in [1, 2] and 'k' in dict(k=1) and 3 not in (1,)": True,
    "[i + x for i, x in enumerate((5, 5), 1)]": [6, 7],
    "int('3') + float(2) + int(True)": 6.0,
    "str(1) + ','.join(['a', 'b']).upper()": "1A,B",
    "[(1, 2), (3, 4)][-1][0]": 3,
    "(lambda x, y=2: x * y)(4)": 8,
    "dict([('a', 1)], b=2)": {"a": 1, "b": 2},
    "dict(a=1).get('z', 4)": 4,
    "list(dict(a=1, b=2).items())": [["a", 1], ["b", 2]],
    "tuple([1, None, False])": [1, None, False],
    "round(2.567, 1)": 2.6,
}


@pytest.mark.parametrize("text", ARITHMETIC)
def test_an_expression_has_pythons_value(text, read):
    expected = ARITHMETIC[text]
    value = read(f"model = dict(x={text})").model.x
    assert (value.to_dict() if isinstance(value, LazyNode) else value) == expected
    assert _as_lists(eval(text)) == expected, "the table is wrong"


def _as_lists(value):
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


STATEMENTS = {
    "model = dict(x=dict(a=dict(b=[1, {'c': 2}])).a.b[1].c)": 2,
    "a, (b, c) = 1, (2, 3)\nmodel = dict(x=[a, b, c])": [1, 2, 3],
    "a = b = 4\na += 1\nmodel = dict(x=[a, b])": [5, 4],
    "a: int = 2\nmodel = dict(x=a)": 2,
    "m = dict()\nm['a'] = 1\nm['b'] = 2\ndel m['a']\nmodel = dict(x=m)": {"b": 2},
    "a = [1]\nb = a\nb += [2]\na.append(3)\nmodel = dict(x=a)": [1, 2, 3],
    "a = []\nfor i, k in enumerate('xy'):\n    a.append(k * 1 if False else i)\nmodel = dict(x=a)": [0, 1],
    "if 1 > 2:\n    a = 1\nelif True:\n    a = 2\nelse:\n    a = 3\nmodel = dict(x=a)": 2,
    "def f(n, *, k=2):\n for i in range(n):\n  if i == k:\n   return i\nmodel = dict(x=[f(5), f(1)])": [2, None],
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nmodel = dict(x=f(6))": 8,
    "from copy import deepcopy\na = dict(b=[1])\nc = deepcopy(a)\nc.b.append(2)\nmodel = dict(x=[a.b, c.b])": [
        [1],
        [1, 2],
    ],
    "import math\nmodel = dict(x=math.ceil(2.1))": 3,
    "x = 1\ndef f():\n    x = 2\n    return x\nmodel = dict(x=[f(), x])": [2, 1],
    "d = dict(a=1)\nd.update(b=2)\nd.setdefault('c', 3)\nd.pop('a')\nmodel = dict(x=d)": {"b": 2, "c": 3},
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements_do_what_python_does(text, read):
    assert read(text).to_dict()["model"]["x"] == STATEMENTS[text]


def test_a_config_copies_what_is_put_into_it_and_a_dict_does_not(read):
    config = read(
        "from omegaconf import OmegaConf\n"
        "part = dict(a=1)\nplain = dict(part=part)\nnode = OmegaConf.create(dict(part=part))\n"
        "part.a = 2\nnode.twin = node.part\nnode.twin.a = 3"
    )
    assert (config.plain.part.a, config.node.part.a, config.node.twin.a) == (2, 1, 3)


def test_a_reference_follows_where_it_stands(read):
    config = read(
        "from omegaconf import OmegaConf\n"
        "part = dict(n='${..n}', t='n${..n}', whole='${model.a.n}', list=[dict(m='${....n}')])\n"
        "model = OmegaConf.create(dict(n=3, a=part))\n"
        "model.b = model.a\nmodel.n = 4\nseen = [model.a.n]\nmodel.c = seen"
    )
    assert config.model.a.to_dict() == {"n": 4, "t": "n4", "whole": 4, "list": [{"m": 4}]}
    assert config.model.b.n == 4 and config.model.c == [4]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("${.nothing}", "leads to nothing: there is no nothing"),
        ("${....n}", "leads above the top"),
        ("${.x}", "leads back to itself"),
        ("${.l.3}", "leads to nothing"),
        ("${oc.env:HOME}", "resolver"),
        ("${}", "no reference that is understood"),
        ("a ${.l}", "puts a list into a text"),
    ],
)
def test_a_bad_reference_is_told_when_it_is_read(reference, words, read, tmp_path):
    model = read(f"model = dict(x={reference!r}, l=[1])").model
    assert model.l == [1]
    for reading in (lambda: model.x, model.to_dict):
        with pytest.raises(ConfigError, match=r"config\.py: .*Mend") as error:
            reading()
        assert words in str(error.value)


def test_every_import_of_a_file_is_its_own(read):
    base = "part = dict(n=1)\nother = part"
    config = read("from .base import part\nfrom .base import part as second\npart.n = 2", base=base)
    assert (config.part.n, config.second.n) == (2, 1)
    assert sorted(read("from .base import *\npart.n = 5", base=base)) == ["other", "part"]


def test_a_class_that_is_only_named_is_a_symbol(read):
    config = read("from detectron2.modeling.backbone.regnet import SimpleStem as S\nmodel = dict(stem_class=S)")
    assert config.model.stem_class == Symbol("detectron2.modeling.backbone.regnet.SimpleStem")


CARRIED = {
    "common/a.py": "from .b import model\nmodel.depth = 2",
    "common/b.py": "model = dict(depth=1, width=1)\nlr = 1",
}


@pytest.mark.parametrize(
    "text",
    [
        "from ..common.a import model",
        "from detectron2 import model_zoo\nmodel = model_zoo.get_config('common/a.py').model",
        "from detectron2.model_zoo import get_config\nmodel = get_config(config_path='common/a.py').model",
    ],
)
def test_what_lies_not_beside_the_file_is_carried(text, tmp_path):
    (tmp_path / "config.py").write_text(text + "\nmodel.width = 3")
    config = read_lazy_config(tmp_path / "config.py", carried=CARRIED)
    assert config.to_dict() == {"model": {"depth": 2, "width": 3}}


def test_the_constants_of_detectron2_are_carried(read):
    config = read("from detectron2.model_zoo import get_config\nc = get_config('common/data/constants.py').constants")
    assert config.c.imagenet_rgb256_mean == config.c.imagenet_bgr256_mean[::-1] == [123.675, 116.28, 103.53]


def test_a_folder_configs_above_serves_the_model_zoo(tmp_path):
    for name, text in {"configs/common/a.py": "model = dict(n=1)", "projects/x/c.py": ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    leaf = tmp_path / "projects/x/c.py"
    leaf.write_text("from detectron2 import model_zoo\nmodel = model_zoo.get_config('common/a.py').model")
    assert read_lazy_config(leaf).model.n == 1


def test_other_files_are_loaded_by_lazyconfig(read):
    load = "from detectron2.config import LazyConfig\n"
    base = "model = dict(n=1)\ntrain = dict(m=2)"
    assert read(load + "model = LazyConfig.load('base.py').model", base=base).model.n == 1
    config = read(load + "model, t = LazyConfig.load_rel('./base.py', ('model', 'train'))", base=base)
    assert (config.model.n, config.t.m) == (1, 2)


def test_a_node_reads_like_a_mapping_and_cannot_be_changed():
    model = read_lazy_config(SAMPLES / "common/detector.py").model
    assert model["backbone"] == model.backbone and model.get("nothing") is None and "backbone" in model
    assert len(model) == len(list(model)) == 5
    assert repr(model.backbone.bottom_up.stages).startswith("Call({'_target_'")
    with pytest.raises(AttributeError, match="nearest is backbone"):
        _ = model.backbon
    with pytest.raises(AttributeError, match="cannot be changed"):
        model.backbone = 1
    model.to_dict()["backbone"].clear()
    model.backbone.in_features.append("x")
    assert model.backbone.in_features == ["res2", "res3"]


def test_which_files_are_lazy(tmp_path):
    files = {"a.py": "", "b.yaml": "model: {_target_: x}", "c.yaml": "MODEL: {}"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert [is_lazy(tmp_path / name) for name in (*files, "none.yaml")] == [True, True, False, False]


def test_reading_loads_no_torch():
    code = "import sys, d2deploy.config.lazy.read, d2deploy.config.lazy.targets; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_with_any_number_of_arguments(read):
    config = read(
        "def many(first, *rest, last=0, **more):\n"
        "    return dict(first=first, rest=rest, last=last, **more)\n"
        "a = many(1, 2, 3, x=4, last=5)\n"
        "b = many(1)\n"
        "def few(first):\n"
        "    return first\n"
    )
    assert config.a == {"first": 1, "rest": [2, 3], "last": 5, "x": 4}
    assert config.b == {"first": 1, "rest": [], "last": 0}
    with pytest.raises(ConfigError, match=r"line 3: .*arguments that it does not have x"):
        read("def few(first):\n    return first\na = few(1, x=2)")
