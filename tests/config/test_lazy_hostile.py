"""Files that want to run code, or to fill time and memory: each ends in one ConfigError, quickly."""

import resource
import time

import pytest

from d2deploy.config.lazy.read import read_lazy_config
from d2deploy.errors import ConfigError

SECONDS = 5  # the slowest takes 0.4 on a quiet machine

RUNS_CODE = {
    "import os": "import os\nos.system('touch {mark}')",
    "from os": "from os import system\nsystem('touch {mark}')",
    "a module below": "import os.path as p\np.os.system('touch {mark}')",
    "subprocess": "import subprocess as s\nmodel = dict(a=s.run('touch {mark}', shell=True))",
    "posix": "from posix import system",
    "ctypes": "import ctypes",
    "importlib": "from importlib import import_module as f\nf('os').system('touch {mark}')",
    "builtins": "import builtins\nbuiltins.open('{mark}', 'w')",
    "through another module": "import torch\ntorch.os.system('touch {mark}')",
    "__import__": "__import__('os').system('touch {mark}')",
    "open": "open('{mark}', 'w')",
    "eval": "model = dict(a=eval('1'))",
    "exec": "exec('x = 1')",
    "compile": "compile('1', '', 'eval')",
    "getattr": "x = getattr(dict, 'mro')",
    "type": "x = type(1)",
    "subclasses": "x = ().__class__.__bases__[0].__subclasses__()",
    "globals of a function": "def f(): pass\nx = f.__globals__",
    "of a method": "x = dict(a=1).pop.__self__",
    "format": "x = '{{0.__class__}}'.format(1)",
    "dunder key": "model = dict(__class__=1)",
    "dunder item": "model = {{'__class__': 1}}",
    "dunder unpacked": "model = dict(**{{'__class__': 1}})",
    "dunder set": "from omegaconf import OmegaConf\nm = OmegaConf.create()\nm.__class__ = 1",
    "class": "class A:\n    import os\n    os.system('touch {mark}')",
    "decorator": "@open\ndef f(): pass",
    "default of an argument": "def f(a=open('{mark}', 'w')): pass\nf()",
    "called function": "def f():\n    import os\n    os.system('touch {mark}')\nf()",
    "with": "with open('{mark}', 'w'): pass",
    "try": "try:\n    open('{mark}', 'w')\nfinally:\n    pass",
    "assert": "assert open('{mark}', 'w')",
    "global": "global x",
    "walrus": "x = (y := 1)",
    "generator": "def f():\n    yield open('{mark}', 'w')\nx = f()",
    "instantiate": "from detectron2.config import instantiate\nx = instantiate(dict(_target_='os.system'))",
    "changes the config": "from mine import change\nmodel = dict(a=1)\nchange(model)",
    "result of a call": "import torch\nx = torch.load('{mark}').y",
    "truth of a call": "import torch\nx = 1 if torch.load('{mark}') else 2",
    "sets a module": "import torch\ntorch.load = 1",
    "get_config above": "from detectron2.model_zoo import get_config\nx = get_config('../../x.py')",
    "load of no config": "from detectron2.config import LazyConfig\nx = LazyConfig.load('/etc/passwd')",
    "all of torch": "from torch import *",
}


@pytest.mark.parametrize("name", RUNS_CODE)
def test_nothing_of_the_file_runs(name, tmp_path):
    mark = tmp_path / "mark"
    file = tmp_path / "config.py"
    text = RUNS_CODE[name].format(mark=mark)
    file.write_text(text + "\nmodel = dict(b=1)")
    with pytest.raises(ConfigError, match=r"config\.py, line \d+: .*") as error:
        read_lazy_config(file)
    assert ("--trust-config" in str(error.value)) != ("Mend the file" in str(error.value))
    assert not mark.exists()


def test_a_function_that_is_not_called_is_not_looked_at(tmp_path):
    file = tmp_path / "config.py"
    file.write_text("def f():\n    import os\n    os.system('x')\nmodel = dict(f=f, g=lambda: open('x'))")
    model = read_lazy_config(file).model
    assert model.f.source.startswith("def f():") and model.g.source == "lambda: open('x')"
    assert model.f.target is None and model.g.target is None


SHARED = "x = [1, 1]\n" + "x = [x, x]\n" * 30
EXHAUSTS = {
    "while": "while True: pass",
    "huge range": "x = range(10**12)",
    "larger range": "x = list(range(10**30))",
    "range backwards": "x = range(0, -(10**18), -1)",
    "loops": "for i in range(9999):\n for j in range(9999):\n  for k in range(9999):\n   x = 1",
    "comprehension": "x = [0 for a in range(9999) for b in range(9999) for c in range(9999)]",
    "recursion": "def f(x):\n    return f(x)\nx = f(1)",
    "recursion of a lambda": "f = lambda x: f(x)\nx = f(1)",
    "many calls": "def f(n):\n return 1 if n < 1 else f(n - 1) + f(n - 1)\ny = [f(15) for _ in range(99)]",
    "power": "x = 9**9**9",
    "float power": "x = 2.0**99999",
    "squares": "x = 2\n" + "x = x * x\n" * 60,
    "hex number": "x = 0x" + "f" * 90_000,
    "long number": "x = " + "9" * 9_000,
    "long text": "x = 'a' * 10**10",
    "doubled text": "x = 'ab'\n" + "x = x + x\n" * 60,
    "long list": "x = [0] * 10**10",
    "lists of lists": "x = [[[[0] * 5000] * 5000] * 5000] * 5000\nmodel = dict(a=x)",
    "extended by itself": "x = [1]\nfor i in range(100):\n x.extend(x)",
    "shared lists": SHARED + "model = dict(a=x)",
    "compared": SHARED + "y = x == x",
    "as a text": SHARED + "y = f'{x}'",
    "mapping in itself": "d = {}\nd['a'] = d\nmodel = d",
    "list in itself": "d = []\nd.append(d)\nmodel = dict(d=d)",
    "copies of itself": "from omegaconf import OmegaConf\nd = OmegaConf.create()\n" + "d.a = [d, d]\n" * 60,
    "many keys": "d = {}\nfor i in range(9999):\n d.update({str(i) + str(j): 1 for j in range(9999)})",
    "format": "x = f'{1:99999999999}'",
    "computed format": "x = f'{1:{99999}}'",
    "percent": "x = '%9999999999d' % 1",
    "imports itself": "from .config import x",
    "brackets": "x = " + "[" * 5_000 + "]" * 5_000,
    "signs": "x = " + "-" * 50_000 + "1",
    "attributes": "import torch\nx = torch" + ".a" * 40_000,
    "fewer attributes": "import torch\nx = torch" + ".a" * 500,
    "attributes in a lambda": "import torch\nmodel = dict(a=lambda: torch" + ".a" * 2_000 + "())",
    "calls": "x = int" + "()" * 3_000,
    "sums": "x = " + "+".join(["1"] * 500),
    "ifs": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "x = 1",
    "elifs": "if 0:\n x = 1\n" + "elif 0:\n x = 1\n" * 300,
    "mapping in mappings": "x = {}\n" + "x = {'a': x}\n" * 500 + "model = x",
    "large file": "x = 1\n" * 50_000,
}


@pytest.mark.parametrize("name", EXHAUSTS)
def test_nothing_exhausts_time_or_memory(name, tmp_path):
    file = tmp_path / "config.py"
    file.write_text(EXHAUSTS[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ConfigError, match=r"config\.py"):
        read_lazy_config(file)
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kilobytes


def test_files_that_import_each_other_without_end(tmp_path):
    for level in range(30):
        lines = [f"from .f{level + 1} import x as x{i}" for i in range(3)]
        (tmp_path / f"f{level}.py").write_text("\n".join(lines) + "\nx = dict(a=1)")
    (tmp_path / "f30.py").write_text("x = dict(a=1)")
    start = time.process_time()
    with pytest.raises(ConfigError, match="more steps"):
        read_lazy_config(tmp_path / "f0.py")
    assert time.process_time() - start < SECONDS


MISTAKES = {
    "x = = 1": "line 1: not Python",
    "x = 1\0": "null bytes",
    " x = 1": "line 1: not Python",
    "x = 1\ny = 1 / 0": "line 2: 1 / 0 has no value: division by zero",
    "a, b = [1]": "1 values for 2 names",
    "x = [][0]": "has no value",
    "model = dict(backbone=1)\nx = model.backbon": "no key backbon; the nearest is backbone",
    "model = dict(a=1)\ndel model.b": "no key b",
    "model = dict(l=[1])\nfrom copy import deepcopy\nm = deepcopy(model)\nm.l[3] = 1": "has no value|no entry 3",
    "del x": "deleting something else",
    "return 1": "return outside",
    "from .missing import x": r"missing\.py, which is imported, does not exist",
    "from .other import y": "defines no y",
    "from . import other": "name the file",
    "from detectron2.model_zoo import get_config\nx = get_config('common/none.py')": "none of the configs",
    "x = 1": "defines no config",
    "": "defines no config",
    "from detectron2.config import LazyCall as L\nfrom d import F\nx = L(F)(1)": "named arguments only",
    "def f(a): return a\nx = f()": "without its argument a",
    "def f(a): return a\nx = f(1, 2)": "arguments that it does not have",
    "def f(a): return a\nx = f(b=1, a=1)": "does not have b",
    "import torch\nx = torch + 1": r"\+ of a name \(torch\) and a int",
    "x = 1 < 'a'": "comparing a int with a text",
    "model = dict(a=len)": "cannot be a value of a config",
    "from detectron2.config import LazyCall as L\nmodel = dict(a=L('x'))": "cannot be a value of a config",
    "model = {1.5: 2}": "cannot be a key",
    "x = b'a'": "as a value",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_place(text, tmp_path):
    (tmp_path / "other.py").write_text("x = dict(a=1)")
    file = tmp_path / "config.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=MISTAKES[text]) as error:
        read_lazy_config(file)
    assert "config.py" in str(error.value) or "other.py" in str(error.value)


def test_a_mistake_in_an_imported_file_names_that_file(tmp_path):
    (tmp_path / "other.py").write_text("\n\nx = y")
    (tmp_path / "config.py").write_text("from .other import x")
    with pytest.raises(ConfigError, match=r"other\.py, line 3: not understood: y is neither"):
        read_lazy_config(tmp_path / "config.py")


@pytest.mark.parametrize("name", ["none.py", "folder", "picture.py"])
def test_no_such_file_or_no_text(name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "picture.py").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match=name):
        read_lazy_config(tmp_path / name)
