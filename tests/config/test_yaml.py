import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from d2deploy.config.node import Node
from d2deploy.config.projects import defaults
from d2deploy.config.yaml import MAX_FILES, read_config
from d2deploy.errors import ConfigError, UnknownKey

GOLDEN = Path(__file__).parents[1] / "golden"
# Neither dumps of LazyConfigs nor the text of one.
DUMPS = [
    path
    for path in sorted(GOLDEN.glob("detectron2/**/golden.json"))
    if not re.search("_target_:|^import ", json.loads(path.read_text())["config_text"], re.M)
]
DEMO = Path(__file__).parents[2] / "src/d2deploy/demo/config.yaml"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the working directory: {name: text}."""
    monkeypatch.chdir(tmp_path)

    def write(files):
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)

    return write


def plain(value):
    """As detectron2 dumps it: tuples become lists."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("path", DUMPS, ids=lambda p: p.parent.name)
def test_a_dump_of_detectron2_is_read_whole(path, tmp_path):
    text = json.loads(path.read_text())["config_text"]
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert plain(read_config(file).to_dict()) == yaml.safe_load(text)


def test_the_dumps_are_there_and_the_defaults_have_their_keys():
    assert len(DUMPS) >= 30

    def keys(tree):
        return {k: keys(v) if isinstance(v, dict) else type(plain(v)).__name__ for k, v in tree.items()}

    dump = yaml.safe_load(json.loads(DUMPS[0].read_text())["config_text"])
    assert keys(defaults()) == keys(dump)


def test_a_project_key_in_a_file_brings_the_whole_project(write):
    write({"c.yaml": "MODEL: {POINT_HEAD: {NUM_CLASSES: 8}}"})
    cfg = read_config("c.yaml", ["MODEL.ROI_MASK_HEAD.FC_DIM", "512"])
    assert (cfg.MODEL.POINT_HEAD.NUM_CLASSES, cfg.MODEL.POINT_HEAD.NUM_FC) == (8, 3)
    assert cfg.MODEL.ROI_MASK_HEAD.FC_DIM == 512


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("MODEL: {POINT_HEAD: {NUM_FCS: 8}}", [], "did you mean MODEL.POINT_HEAD.NUM_FC?"),
        ("VERSION: 2", ["MODEL.POINT_HEAD.NUM_FCS", "3"], "did you mean MODEL.POINT_HEAD.NUM_FC?"),
        ("MODEL: {POINT_HEAD: 5}", [], "it is a section"),
        ("MODEL: {POINT_HEAD: {NUM_FC: x}}", [], "a whole number"),
    ],
)
def test_project_keys_are_checked_as_all_others(text, words, message, write):
    write({"c.yaml": text})
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        read_config("c.yaml", words)


def test_an_almost_empty_file_gives_the_defaults(write):
    write({"c.yaml": "VERSION: 2"})
    cfg = read_config("c.yaml")
    assert cfg == Node(defaults())
    assert cfg.DATASETS.TEST == () and cfg.INPUT.MIN_SIZE_TRAIN == (800,)
    assert cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS[2] == (30.0, 30.0, 15.0, 15.0)
    assert cfg.SOLVER.WEIGHT_DECAY_BIAS is None
    cfg.MODEL.PIXEL_MEAN.append(1)
    assert read_config("c.yaml").MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]


def test_child_over_base_over_grandparent(write):
    write(
        {
            "base/deep.yaml": "MODEL: {RPN: {IN_FEATURES: [p2, p3], NMS_THRESH: 0.1}, MASK_ON: true}\nSEED: 1",
            "base/base.yaml": "_BASE_: deep.yaml\nMODEL: {RPN: {IN_FEATURES: [p6]}}\nSEED: 2",
            "child.yaml": "_BASE_: base/base.yaml\nMODEL: {RPN: {NMS_THRESH: 0.3}}",
        }
    )
    cfg = read_config("child.yaml")
    assert (cfg.MODEL.RPN.IN_FEATURES, cfg.MODEL.RPN.NMS_THRESH, cfg.MODEL.MASK_ON) == (["p6"], 0.3, True)
    assert cfg.SEED == 2
    assert "_BASE_" not in cfg


@pytest.mark.parametrize("form", ["relative", "absolute", "home", "list of one"])
def test_where_a_base_may_lie(form, write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    base = {
        "relative": "../other/b.yaml",
        "absolute": tmp_path / "other/b.yaml",
        "home": "~/b.yaml",
        "list of one": "[../other/b.yaml]",
    }[form]
    write({"other/b.yaml": "SEED: 7", "home/b.yaml": "SEED: 7", "here/c.yaml": f"_BASE_: {base}"})
    assert read_config("here/c.yaml").SEED == 7


def test_the_last_of_several_bases_wins(write):
    write({"a.yaml": "SEED: 1\nVIS_PERIOD: 1", "b.yaml": "SEED: 2", "c.yaml": "_BASE_: [a.yaml, b.yaml]"})
    assert (read_config("c.yaml").SEED, read_config("c.yaml").VIS_PERIOD) == (2, 1)


def test_a_type_is_checked_after_inheritance(write):
    write({"a.yaml": "MODEL: {RPN: {NMS_THRESH: 1}}", "c.yaml": "_BASE_: a.yaml\nMODEL: {RPN: {NMS_THRESH: 0.5}}"})
    assert read_config("c.yaml").MODEL.RPN.NMS_THRESH == 0.5
    with pytest.raises(ConfigError, match=r"MODEL\.RPN\.NMS_THRESH in a\.yaml is 1 .*such as 1\.0\."):
        read_config("a.yaml")


BAD_FILES = {
    "itself": ({"c.yaml": "_BASE_: c.yaml"}, "leads back"),
    "a circle": ({"c.yaml": "_BASE_: b.yaml", "b.yaml": "_BASE_: ./c.yaml"}, r"c\.yaml -> .*b\.yaml -> .*c\.yaml"),
    "http": ({"c.yaml": "_BASE_: https://x.org/b.yaml"}, "reads no config from the network"),
    "detectron2 url": ({"c.yaml": "_BASE_: detectron2://b.yaml"}, "reads no config from the network"),
    "no such base": ({"c.yaml": "_BASE_: b.yaml"}, r"b\.yaml does not exist"),
    "no path": ({"c.yaml": "_BASE_: 5"}, "must be the path"),
    "an empty path": ({"c.yaml": "_BASE_: ''"}, "must be the path"),
    "a list of what": ({"c.yaml": "_BASE_: [[a]]"}, "must be the path"),
    "a mapping": ({"c.yaml": "_BASE_: {a: b}"}, "must be the path"),
    "a broken base": ({"c.yaml": "_BASE_: b.yaml", "b.yaml": "A: ["}, r"b\.yaml, line"),
    "code in a base": ({"c.yaml": "_BASE_: b.yaml", "b.yaml": "\nSEED: !!python/name:os.x"}, r"b\.yaml, line 2"),
    "section over value": ({"c.yaml": "_BASE_: b.yaml\nSEED: {A: 1}", "b.yaml": "SEED: 1"}, "SEED is a section in c"),
    "value over section": ({"c.yaml": "MODEL: 5"}, r"MODEL in c\.yaml is 5 .*it is a section"),
    "empty section": ({"c.yaml": "MODEL:"}, r"MODEL in c\.yaml is None .*it is a section"),
    "doubling": (
        {"b0.yaml": "SEED: 1", "c.yaml": "_BASE_: b29.yaml"}
        | {f"b{i}.yaml": f"_BASE_: [b{i - 1}.yaml, b{i - 1}.yaml]" for i in range(1, 30)},
        f"more than {MAX_FILES} files",
    ),
    "endless": (
        {"c.yaml": "_BASE_: b0.yaml"} | {f"b{i}.yaml": f"_BASE_: b{i + 1}.yaml" for i in range(MAX_FILES + 5)},
        f"more than {MAX_FILES} files",
    ),
    "newer version": ({"c.yaml": "VERSION: 3"}, r"VERSION in c\.yaml is 3"),
    "lazy": ({"c.py": "raise SystemExit"}, "LazyConfig, which is no base of a YAML config"),
    "not a mapping": ({"c.yaml": "[1]"}, "not a mapping"),
}


@pytest.mark.parametrize(("files", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(files, message, write):
    write(files)
    with pytest.raises(ConfigError, match=message):
        read_config(next(name for name in files if name.startswith("c.")))


def test_version_1_files_are_read_as_version_2(write):
    write(
        {
            "base.yaml": "MODEL: {RPN: {ANCHOR_SIZES: [[8]]}, ROI_HEADS: {NMS: 0.3}}",
            "c.yaml": "_BASE_: base.yaml\nMODEL: {WEIGHT: x.pkl}\nTEST: {DETECTIONS_PER_IMG: 7}",
        }
    )
    cfg = read_config("c.yaml")
    assert cfg.VERSION == 2
    assert cfg.MODEL.WEIGHTS == "x.pkl" and cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST == 0.3
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[8]] and cfg.TEST.DETECTIONS_PER_IMAGE == 7


def test_unknown_keys_are_named_all_at_once_each_with_file_and_nearest_name(write):
    write(
        {
            "base.yaml": "MODEL: {MASK_0N: true}\nSOLVER: {NEW_IN_2030: 1}",
            "c.yaml": "_BASE_: base.yaml\nMODEL: {RPN: {NMS_TRESH: 0.5}, OF_MINE: {A: 1, B: 2}}\nVERSION: 2",
        }
    )
    with pytest.raises(UnknownKey) as error:
        read_config("c.yaml")
    assert str(error.value).splitlines()[1:] == [
        "  MODEL.MASK_0N in base.yaml: did you mean MODEL.MASK_ON?",
        "  MODEL.RPN.NMS_TRESH in c.yaml: did you mean MODEL.RPN.NMS_THRESH?",
        "  MODEL.OF_MINE in c.yaml: the nearest is MODEL.FPN",
    ]


def test_a_flood_of_unknown_keys_stays_readable(write):
    write({"c.yaml": "\n".join(f"KEY_{i}: 1" for i in range(20_000))})
    start = time.process_time()
    with pytest.raises(UnknownKey, match="and 19980 more"):
        read_config("c.yaml")
    assert time.process_time() - start < 10


def test_an_open_section_takes_any_keys_those_of_the_bases_first(write):
    write(
        {
            "base.yaml": "MODEL: {DENSEPOSE_ON: true}\nDATASETS: {CATEGORY_MAPS: {lvis_v0.5: {1: 2}, b: {5: 6}}}",
            "c.yaml": "_BASE_: base.yaml\nDATASETS: {CATEGORY_MAPS: {a: {'7': 8}, b: {5: 7}}}",
        }
    )
    maps = read_config("c.yaml").DATASETS.CATEGORY_MAPS
    assert list(maps) == ["lvis_v0.5", "b", "a"]
    assert maps.to_dict() == {"lvis_v0.5": {"1": 2}, "b": {"5": 7}, "a": {"7": 8}}
    key = "DATASETS.CATEGORY_MAPS"
    assert read_config("c.yaml", [f"{key}.b.5", "9"]).DATASETS.CATEGORY_MAPS["b"].to_dict() == {"5": 9}
    for name in (f"{key}.b.6", f"{key}.c", f"{key}.lvis_v0.5"):
        with pytest.raises(UnknownKey, match=re.escape(name)):
            read_config("c.yaml", [name, "9"])


OVERRIDES = [
    (["SEED", "5"], "SEED", 5),
    (["SEED", 5], "SEED", 5),
    (["SEED", "5", "SEED", "6"], "SEED", 6),
    (["MODEL.RPN.NMS_THRESH", "1e-2"], "MODEL.RPN.NMS_THRESH", 0.01),
    (["DATASETS.TEST", "('a', 'b')"], "DATASETS.TEST", ("a", "b")),
    (["DATASETS.TEST", ["a"]], "DATASETS.TEST", ("a",)),
    (["MODEL.MASK_ON", "True"], "MODEL.MASK_ON", True),
    (["MODEL.WEIGHTS", "a b.pth"], "MODEL.WEIGHTS", "a b.pth"),
    (["MODEL.WEIGHTS", ""], "MODEL.WEIGHTS", ""),
    (["MODEL.ANCHOR_GENERATOR.SIZES", "[[1], [2]]"], "MODEL.ANCHOR_GENERATOR.SIZES", [[1], [2]]),
    (["DATASETS.CLASS_TO_MESH_NAME_MAPPING", "{0: 'a'}"], "DATASETS.CLASS_TO_MESH_NAME_MAPPING.0", "a"),
    ([], "SEED", -1),
]


@pytest.mark.parametrize(("words", "key", "value"), OVERRIDES)
def test_overrides(words, key, value, write):
    write({"c.yaml": "VERSION: 2"})
    cfg = read_config("c.yaml", words)
    for part in key.split("."):
        cfg = cfg[part]
    assert repr(cfg) == repr(value)
    assert read_config("c.yaml") == Node(defaults()), "the defaults have changed"


BAD_OVERRIDES = {
    "odd": (["SEED"], ConfigError, "these are 1 words: SEED"),
    "unknown": (["SEDE", "1"], UnknownKey, "SEDE in the overrides: did you mean SEED"),
    "training-only, unknown": (["SOLVER.BASE_LRR", "1"], UnknownKey, "did you mean SOLVER.BASE_LR"),
    "old name": (["MODEL.WEIGHT", "x"], UnknownKey, "called MODEL.WEIGHTS"),
    "int for float": (["MODEL.RPN.NMS_THRESH", "1"], ConfigError, r"in the overrides is 1 .*such as 1\.0"),
    "section": (["MODEL", "x"], ConfigError, "it is a section"),
    "into a value": (["SEED.X", "1"], UnknownKey, "SEED.X"),
    "empty": (["", "1"], UnknownKey, "in the overrides"),
}


@pytest.mark.parametrize(("words", "kind", "message"), BAD_OVERRIDES.values(), ids=BAD_OVERRIDES)
def test_bad_overrides(words, kind, message, write):
    write({"c.yaml": "VERSION: 2"})
    with pytest.raises(kind, match=message):
        read_config("c.yaml", words)


def test_a_missing_base_is_named_with_who_asks_for_it(write, tmp_path):
    write({"deep/c.yaml": "_BASE_: ../Base-RCNN-FPN.yaml"})
    with pytest.raises(ConfigError, match=r"_BASE_ in deep/c\.yaml is \.\./Base-RCNN-FPN\.yaml; .*does not exist"):
        read_config("deep/c.yaml")


def test_a_full_config_is_read_in_milliseconds():
    read_config(DEMO)
    times = []
    for _ in range(5):
        start = time.process_time()
        read_config(DEMO)
        times.append(time.process_time() - start)
    assert min(times) < 0.05, "seen: 4 ms"


def test_the_config_room_needs_no_heavy_package():
    code = (
        "import sys; import d2deploy.config.yaml, d2deploy.config.yacs.model, d2deploy.config.datasets;"
        "print(sorted({'torch', 'numpy', 'onnx', 'onnxruntime', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "src"}, cwd=DEMO.parents[3]
    )
    assert done.stdout.strip() == "[]", done.stderr
