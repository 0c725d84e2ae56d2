"""A trusted LazyConfig runs as Python, and gives what reading it gives."""

import builtins
import sys
from pathlib import Path

import pytest

from d2deploy.config.lazy.bases import BASES
from d2deploy.config.lazy.read import read_carried, read_lazy_config
from d2deploy.config.lazy.trusted import run_lazy_config
from d2deploy.config.lazy.values import Code, Symbol
from d2deploy.errors import ConfigError

SAMPLES = Path(__file__).parent / "lazy_files"


@pytest.fixture
def run(tmp_path):
    """Function: text of a config -> the config."""

    def run(text, **others):
        for name, content in {"config": text, **others}.items():
            (tmp_path / f"{name}.py").write_text(content)
        return run_lazy_config(tmp_path / "config.py")

    return run


def without_code(value):
    """Functions are written out, not copied, when the file runs."""
    if isinstance(value, dict):
        return {key: without_code(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_code(item) for item in value]
    return value.target if isinstance(value, Code) else value


@pytest.mark.parametrize("name", ["common/detector.py", "leaf/cascade.py", "demo.py"])
def test_as_if_it_had_been_read(name):
    ran, was_read = run_lazy_config(SAMPLES / name).to_dict(), read_lazy_config(SAMPLES / name).to_dict()
    assert without_code(ran) == without_code(was_read) and len(ran) >= 2


@pytest.mark.parametrize("name", [name for name in BASES if "/models/" in name or "LSJ" in name])
def test_the_carried_configs(name, run):
    config = run(f"from detectron2 import model_zoo\nconfig = model_zoo.get_config({name!r})").config
    assert config == read_carried(name)


def test_what_reading_does_not_understand(run):
    config = run(
        "from dataclasses import dataclass\n"
        "from detectron2.config import LazyCall as L\n"
        "from detectron2.modeling import FPN\n"
        "@dataclass\n"
        "class Size:\n"
        "    out: int = 3\n"
        "model = L(FPN)(out_channels=Size().out << 2)\n"
        "while model.out_channels < 50:\n"
        "    model.out_channels *= 2\n"
    )
    assert config.model.to_dict() == {"_target_": "detectron2.modeling.FPN", "out_channels": 96}


def test_sections_are_omegaconfs(run):
    config = run(
        "import copy\n"
        "from omegaconf import OmegaConf, DictConfig, ListConfig\n"
        "from detectron2.config import LazyCall as L\n"
        "import detectron2.modeling as m\n"
        "a = OmegaConf.create()\n"
        "a.inner = shared = dict(x=1, items=[1, 2])\n"
        "shared['x'] = 9  # a copy was put in\n"
        "b = copy.deepcopy(a)\n"
        "b.inner.x = 2\n"
        "b.inner['items'].append(3)\n"
        "b.inner['items'] += [4]\n"
        "b.ref = '${.inner.x}'\n"
        "b.seen = b.ref + 1\n"
        "b.inner.pop('x')\n"
        "b.inner.x = 5\n"
        "c = DictConfig(dict(a=1), flags={'allow_objects': True})\n"
        "c.names = [type(c).__name__, 'a' in c, c.get('z', 4), len(c), *c.keys()]\n"
        "c.plain = OmegaConf.to_container(b)['inner']\n"
        "d = ListConfig([1, 2, 3])\n"
        "c.sums = [*d[1:], *(d + [4]), *([0] + d)]\n"
        "e = dict(made=m.ShapeSpec(channels=3), call=L(m.FPN)(**c.plain), cls=m.FPN)\n"
        "del e['call'].items\n"
    )
    assert config.a == {"inner": {"x": 1, "items": [1, 2]}}
    assert config.b == {"inner": {"items": [1, 2, 3, 4], "x": 5}, "ref": 5, "seen": 3}
    assert config.c.names == ["Section", True, 4, 1, "a"] and config.c.plain == {"items": [1, 2, 3, 4], "x": 5}
    assert config.d == [1, 2, 3] and config.c.sums == [2, 3, 1, 2, 3, 4, 0, 1, 2, 3]
    assert config.e.made.target == "detectron2.modeling.ShapeSpec" and config.e.cls == Symbol("detectron2.modeling.FPN")
    assert config.e.call.to_dict() == {"_target_": "detectron2.modeling.FPN", "x": 5}


def test_imports(run, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/deep.py").write_text("deeper = dict(y=2)")
    config = run(
        "from .other import settings, double\n"
        "from .sub.deep import deeper\n"
        "from detectron2.config import LazyCall as L, LazyConfig\n"
        "import math, json\n"
        "import no_such_module.inner as gone\n"
        "settings.size = double(settings.size)\n"
        "again = LazyConfig.load_rel('other.py', 'settings')\n"
        "a, b = LazyConfig.load('other.py', ('settings', 'more'))\n"
        "model = L(gone.Net)(n=math.floor(2.5), text=json.dumps([1]))\n",
        other="settings = dict(size=4)\nmore = dict(x=1)\ndef double(n):\n    return 2 * n\n",
    )
    assert (config.settings, config.again, config.deeper) == ({"size": 8}, {"size": 4}, {"y": 2})
    assert (config.a, config.b) == ({"size": 4}, {"x": 1})
    assert config.model.to_dict() == {"_target_": "no_such_module.inner.Net", "n": 2, "text": "[1]"}


def test_python_is_left_as_it_was(run):
    before, import_ = set(sys.modules), builtins.__import__
    run("import detectron2.modeling, torchvision.ops, no_such_module\nfrom detectron2.config import LazyConfig\na = {}")
    assert builtins.__import__ is import_
    assert not {
        name for name in set(sys.modules) - before if name.partition(".")[0] in ("detectron2", "no_such_module")
    }
    with pytest.raises(ModuleNotFoundError):
        __import__("detectron2")


FAILING = {
    "a = dict(x=1)\nb = 1 / 0": r"config\.py, line 2: .*ZeroDivisionError: division by zero",
    "raise SystemExit(3)": r"line 1: .*SystemExit: 3",
    "from .none import a": r"line 1: .*none\.py, which is imported, does not exist",
    "from .other import a": r"other\.py, line 2: .*NameError",
    "from .bad import a": r"bad\.py, line 1: not Python",
    "x = (": "line 1: not Python",
    "x = 3": "defines no config",
    "from detectron2.model_zoo import get_config\nget_config('a.yaml')": r"line 2: .*only LazyConfigs \(\.py\)",
    "from detectron2.config import LazyCall as L\na = L('x')(b='${c}')\nprint(a.b)": "line 3: .*leads to nothing",
    "from detectron2.config import LazyCall as L\na = L('x')()\nprint(a.b)": "line 3: .*the config has no b here",
}


@pytest.mark.parametrize("text", FAILING)
def test_code_that_fails_is_told_with_its_line(text, run):
    with pytest.raises(ConfigError, match=FAILING[text]):
        run(text, other="\na = b", bad="a = ")
