"""The one door to configs: files and names of both kinds, overrides of both forms, sizes."""

from pathlib import Path

import pytest
import yaml

from d2deploy.config import schema
from d2deploy.config.lazy.read import read_carried
from d2deploy.config.model import is_official, read_model_config
from d2deploy.config.zoo import zoo_models
from d2deploy.errors import ConfigError, UnknownKey

DEMO = Path(__file__).parents[2] / "src/d2deploy/demo/config.yaml"
LAZY = Path(__file__).parent / "lazy_files/demo.py"
NAME = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"


@pytest.mark.parametrize("trust_config", [False, True])
def test_a_lazy_config_of_the_demo_is_the_demo(trust_config):
    assert read_model_config(LAZY, trust_config=trust_config) == read_model_config(DEMO)


YAML_FORMS = (
    ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.WEIGHTS", "https://a/b?c=d"],
    ["MODEL.ROI_HEADS.NUM_CLASSES=3", "MODEL.WEIGHTS=https://a/b?c=d"],
    ["MODEL.ROI_HEADS.NUM_CLASSES", 3, "MODEL.WEIGHTS=https://a/b?c=d"],
)
LAZY_FORMS = (
    ["model.roi_heads.num_classes=3", "train.init_checkpoint=https://a/b?c=d"],
    ["model.roi_heads.num_classes", "3", "train.init_checkpoint", "https://a/b?c=d"],
    ["model.roi_heads.num_classes", 3, "train.init_checkpoint=https://a/b?c=d", "~model.roi_heads.proposal_matcher"],
)


@pytest.mark.parametrize(
    ("name", "overrides"), [*((NAME, form) for form in YAML_FORMS), *((f"{NAME}.py", form) for form in LAZY_FORMS)]
)
def test_overrides_in_both_forms(name, overrides):
    config = read_model_config(name, overrides)
    assert config.detections is not None and config.detections.num_classes == 3
    assert config.weights == "https://a/b?c=d"


def test_a_value_that_is_a_list():
    config = read_model_config(f"{NAME}.py", ["model.proposal_generator.post_nms_topk", [1000, 300]])
    assert isinstance(config.architecture, schema.GeneralizedRCNN)
    assert config.architecture.proposals.post_nms_topk == 300


BAD_OVERRIDES = {
    (NAME, "MODEL.MASK_ON"): "Overrides are pairs",
    (NAME, "~MODEL.MASK_ON"): "Overrides are pairs",
    (NAME, "MODEL.MASK_OFF=True"): "MODEL.MASK_OFF",
    (f"{NAME}.py", "model.roi_heads"): "write model.key=value",
    (f"{NAME}.py", "model.roi_hads.num_classes=3"): "The nearest is roi_heads",
    (f"{NAME}.py", "~model.roi_hads"): "no key roi_hads",
}


@pytest.mark.parametrize(("name", "override"), BAD_OVERRIDES)
def test_bad_overrides(name, override):
    with pytest.raises(ConfigError, match=BAD_OVERRIDES[name, override]):
        read_model_config(name, [override])


@pytest.mark.parametrize("name", [NAME, f"{NAME}.py", str(DEMO), str(LAZY)])
def test_sizes_go_over_the_config(name):
    assert read_model_config(name, min_size=100).input.min_size == 100
    assert read_model_config(name, min_size=0).input.min_size == 0
    found = read_model_config(name, min_size=100, max_size=111).input
    assert (found.min_size, found.max_size) == (100, 111)


@pytest.mark.parametrize("sizes", [{"min_size": -1}, {"min_size": 2.5}, {"max_size": 0}, {"max_size": True}])
def test_wrong_sizes(sizes):
    with pytest.raises(ConfigError, match=f"{next(iter(sizes))} is .*a whole number of at least"):
        read_model_config(NAME, **sizes)


def test_a_whole_dump_needs_nothing_else(tmp_path):
    dump = read_carried(f"{NAME}.py", ["train.init_checkpoint=model_final.pth"]).to_dict()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(dump))
    config = read_model_config(tmp_path / "config.yaml")
    assert config == read_model_config(f"{NAME}.py", ["train.init_checkpoint=model_final.pth"])
    assert (config.input.min_size, config.weights, config.dataset) == (800, "model_final.pth", "coco_2017_val")


def test_a_dump_needs_sizes(tmp_path):
    (tmp_path / "config.yaml").write_text("model: {_target_: detectron2.modeling.GeneralizedRCNN, pixel_mean: [1]}")
    with pytest.raises(ConfigError, match="--min-size and --max-size"):
        read_model_config(tmp_path / "config.yaml")


def test_a_config_that_only_runs_says_so(tmp_path):
    text = LAZY.read_text() + "\nwhile heads.num_classes < 9:\n    heads.num_classes += 1\n"
    (tmp_path / "config.py").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.py, line \d+: not understood: a while .*--trust-config"):
        read_model_config(tmp_path / "config.py")
    detections = read_model_config(tmp_path / "config.py", trust_config=True).detections
    assert detections is not None and detections.num_classes == 9


@pytest.mark.parametrize("name", ["none.yaml", "none.py"])
def test_a_file_that_does_not_exist(name, tmp_path):
    assert not is_official(tmp_path / name)
    with pytest.raises(ConfigError, match="does not exist"):
        read_model_config(tmp_path / name)


def test_a_hostile_import_runs_nothing(tmp_path):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nmodel = {{}}")
    (tmp_path / "config.py").write_text("import evil\nfrom .evil import model\n")
    with pytest.raises(ConfigError, match=r"evil\.py, line 1: not understood"):
        read_model_config(tmp_path / "config.py")
    assert not (tmp_path / "ran").exists()
    for target in ("os.system", "evil.main", "builtins.eval"):
        (tmp_path / "config.yaml").write_text(f"model: {{_target_: {target}, command: x}}")
        with pytest.raises(UnknownKey, match=target):
            read_model_config(tmp_path / "config.yaml", min_size=1, max_size=1)


@pytest.mark.parametrize("model", zoo_models(), ids=lambda model: model.name)
def test_every_official_model_is_known_by_name(model):
    assert is_official(model.name)
    config = read_model_config(model.name)
    assert config.weights == model.weights
    assert config.input.min_size > 0 and config.dataset
