import importlib.util
import time
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from d2deploy.config import loader
from d2deploy.config.loader import MAX_BYTES, read_tree
from d2deploy.errors import ConfigError

FILE = Path("my.yaml")

GOOD = {
    "A: {B: 1, C: [x, 2.5, null, true]}": {"A": {"B": 1, "C": ["x", 2.5, None, True]}},
    "A: &id001 [1, 2]\nB: *id001": {"A": [1, 2], "B": [1, 2]},
    "A: &s {X: 1}\nB: {<<: *s, Y: 2}": {"A": {"X": 1}, "B": {"X": 1, "Y": 2}},
    "A: !!python/tuple [1, !!python/tuple [2, x]]": {"A": (1, (2, "x"))},
    'A: !!python/object/apply:eval ["[x * 2 for x in [1, 2]]"]': {"A": [2, 4]},
    'A:\n  !!python/object/apply:eval [\n    "[1]",\n  ]': {"A": [1]},
    "A: (800,)\nB: 1e-3": {"A": "(800,)", "B": "1e-3"},  # literals are read later, key by key
    "\ufeffA: 1": {"A": 1},
    "A: 1:30": {"A": 90},
    "A: {0: x, '1': y, 2: {3: z}}": {"A": {"0": "x", "1": "y", "2": {"3": "z"}}},
}

# text -> line of the problem
CODE = {
    "A: 1\nB: !!python/object/apply:os.system ['touch owned']": 2,
    "!!python/object/apply:os.system ['touch owned']": 1,
    "A: !!python/object/new:os.system ['touch owned']": 1,
    "A: !!python/object:os.system {}": 1,
    "\n\nA: !!python/name:os.system": 3,
    "A: !!python/name:os.system ''": 1,
    "A: !!python/module:os": 1,
    "A: !!python/bytes eA==": 1,
    "A: !unknown 1": 1,
    "A: !!python/object/apply:eval [\"__import__('os').system('touch owned')\"]": 1,
    "A: !!python/object/apply:eval [\"open('owned', 'w')\"]": 1,
    'A: !!python/object/apply:eval ["9 ** 9 ** 9"]': 1,
    'A: !!python/object/apply:eval ["[1] * 10 ** 10"]': 1,
    "A: 1\nB: !!python/object/apply:eval ['1', '2']": 2,
    "A: !!python/object/apply:eval []": 1,
    "A: !!python/object/apply:eval [[1]]": 1,
    "A: !!python/object/apply:eval '1'": 1,
    "A: !!python/object/apply:eval {args: ['1']}": 1,
    "A: !!python/tuple 5": 1,
    "A: !!python/tuple {a: 1}": 1,
}

LAUGHS = "\n".join(
    [f"a0: &a0 [{'1, ' * 9}1]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
)
MAP_LAUGHS = "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}" for i in range(1, 60))])
MERGE_LAUGHS = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{k{i}: 1, <<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30))]
)
TUPLE_LAUGHS = "\n".join(
    ["a0: &a0 !!python/tuple [1]", *(f"a{i}: &a{i} !!python/tuple [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
)
CHAIN = "\n".join(["a0: &a0 [1]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 900))])

BAD = {
    "": "empty",
    "# nothing": "empty",
    "- a\n- b": "a list, not a mapping",
    "just text": "a str, not a mapping",
    "5": "a int, not a mapping",
    "A: [1": "my.yaml, line ",
    "A: 1\n B: 2": "line 2",
    "A: *nowhere": "line 1",
    "A: 1\n---\nB: 2": "line 2",
    "A: \x07": "not a YAML file",
    "1.5: 2": "the key 1.5",
    "A: {true: 1}": "the key True in A",
    "A: {? [1, 2] : 3}": "a key is not a text",
    "A: 2001-01-01": "A in my.yaml is a date",
    "A: 2001-99-99": "not a YAML file",
    "A: !!binary eA==": "A in my.yaml is a bytes",
    "A: !!set {x}": "A in my.yaml is a set",
    "A: !!int ''": "not a YAML file",
    "A: !!float ''": "not a YAML file",
    "A: !!bool x": "not a YAML file",
    "A: !!timestamp x": "not a YAML file",
    f"A: {'9' * 5000}": "more than 100 characters",
    f"A: {'1:' * 9_000}1": "more than 100 characters",
    "[" * 100_000: "nested deeper than 30",
    "{a: " * 100_000: "nested deeper than 30",
    "- " * 100_000 + "x": "nested deeper than 30",
    "A: &a [*a]": "expand without end",
    "A: &a {B: *a}": "expand without end",
    "A: &a !!python/tuple [*a]": "recursive",
    LAUGHS: "expand without end",
    MAP_LAUGHS: "expand without end",
    MERGE_LAUGHS: "copies more than",
    "a: &a {x: 1}\nb: {<<: [" + "*a, " * 60 + "*a]}": "<< names 61 mappings",
    "a: &a {"
    + ", ".join(f"k{i}: 1" for i in range(900))
    + "}\n"
    + "".join(f"b{i}: {{<<: *a}}\n" for i in range(200)): "copies more than",
    TUPLE_LAUGHS: "expand without end",
    TUPLE_LAUGHS + "\nz: {? *a39 : 1}": "a key is not a text",
    CHAIN: "expand without end",
    "model:\n  _target_: x\n  y: !!python/name:a.b ''": "LazyConfig",
}


def without_libyaml() -> ModuleType:
    """The module as it is on a machine whose PyYAML lacks the C loader."""
    spec = importlib.util.spec_from_file_location("loader_without_libyaml", loader.__file__)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CSafeLoader")
        spec.loader.exec_module(module)
    return module


LOADERS = {"C": loader, "Python": without_libyaml()}


def test_both_loaders_are_what_they_say():
    assert issubclass(LOADERS["C"]._Loader, yaml.CSafeLoader), "PyYAML came without libyaml"
    assert issubclass(LOADERS["Python"]._Loader, yaml.SafeLoader)


@pytest.mark.parametrize(("text", "tree"), GOOD.items())
@pytest.mark.parametrize("which", LOADERS)
def test_good(which, text, tree, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    assert repr(LOADERS[which].read_tree(file)) == repr(tree)


@pytest.mark.parametrize(("text", "line"), CODE.items())
@pytest.mark.parametrize("which", LOADERS)
def test_code_never_runs(which, text, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"^my.yaml, line {line}: "):
        LOADERS[which].parse_tree(text, FILE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "words"), BAD.items(), ids=lambda text: text[:25])
@pytest.mark.parametrize("which", LOADERS)
def test_bad_is_a_quick_and_small_config_error(which, text, words):
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ConfigError) as error:
            LOADERS[which].parse_tree(text, FILE)
        seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in str(error.value)
    assert "my.yaml" in str(error.value)
    assert len(str(error.value)) < 400
    assert seconds < 20 and peak < 200e6


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "large").write_text("A: " + "x" * MAX_BYTES)
    for name, words in {
        "absent": "does not exist",
        "binary": "is not text",
        "large": "bytes",
        ".": "is a folder. Give the config file in it",
        "nul\0": "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_tree(tmp_path / name)


def test_a_number_as_a_key_is_a_text_in_files_alone():
    """A LazyConfig's overrides may mean the number itself."""
    with pytest.raises(ConfigError, match="the key 3 in value is not a text"):
        loader.parse_tree("value: {3: 1}", FILE)
