"""caffe2_converter: detectron2's command line, the files that it writes, both accuracies."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from d2deploy.cli.caffe2_converter import main

TESTS = Path(__file__).parents[2]
DEMO = TESTS.parent / "src" / "d2deploy" / "demo"
SHAPES = TESTS / "golden" / "shapes"


def convert(*arguments: object, device: str = "cpu") -> int:
    """The exit code of detectron2's own command line: options, then pairs of keys and values."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "MODEL.WEIGHTS", str(DEMO / "model_final.pth"), "MODEL.DEVICE", device])
    return int(ended.value.code or 0)


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """8 of the validation images as detectron2's coco_2017_val, where DETECTRON2_DATASETS says."""
    root = tmp_path / "datasets" / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").symlink_to(SHAPES / "val")
    content = json.loads((SHAPES / "annotations" / "instances_val.json").read_text())
    content["images"] = content["images"][:8]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in ids]
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root.parent))
    return ("DATASETS.TEST", "('coco_2017_val',)")


def test_the_files(tmp_path, monkeypatch, capsys):
    """Without the runtime: all files, and what was not proven."""
    monkeypatch.delenv("D2DEPLOY_CAFFE2_PYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "caffe2_model"
    assert convert("--config-file", DEMO / "config.yaml", "--output", folder) == 0
    names = {"model.pb", "model_init.pb", "model.pbtxt", "model.svg", "manifest.json"}
    assert {file.name for file in folder.iterdir()} == names
    assert "the structure only" in capsys.readouterr().out
    assert 'type: "GenerateProposals"' in (folder / "model.pbtxt").read_text()
    texts = [element.text for element in ElementTree.parse(folder / "model.svg").iter() if element.tag.endswith("text")]
    assert {"data", "backbone.bottom_up.res4", "proposal_generator", "roi_heads.mask_head", "mask_fcn_probs"} <= {
        *texts
    }
    assert "N x 256 x H/16 x W/16" in texts


def rows(out: str) -> dict[str, list[float]]:
    """Task -> AP of the network, AP of the nets, and the difference, from the last table."""
    found = re.findall(r"^(bbox|segm) +AP +([\d.]+) +([\d.]+) +([+-][\d.]+)$", out, flags=re.MULTILINE)
    return {task: list(map(float, numbers)) for task, *numbers in found}


def test_run_eval(runtime, coco, tmp_path, capsys):
    """The config's own data set; both tables, and the difference."""
    folder = tmp_path / "caffe2_model"
    assert convert("--config-file", DEMO / "config.yaml", "--output", folder, "--run-eval", *coco) == 0
    out = capsys.readouterr().out
    assert out.count("Evaluation results for bbox") == 2 and "the structure only" not in out
    assert rows(out).keys() == {"bbox", "segm"}
    assert all(eager > 30 and caffe2 > 30 and abs(change) <= 0.01 for eager, caffe2, change in rows(out).values())
    assert json.loads((folder / "manifest.json").read_text())["verification"] is not None


def test_lost_accuracy_is_an_exit_code(runtime, artifact, coco, tmp_path, capsys, monkeypatch):
    """With a bound that no export keeps: it must gain 200 points."""
    monkeypatch.setattr("d2deploy.workflows.export.export", lambda *_, **__: artifact)
    options = ("--config-file", DEMO / "config.yaml", "--output", tmp_path / "out", "--run-eval", "--limit", 1)
    assert convert(*options, "--max-drop", "-200", *coco) == 1
    said = capsys.readouterr()
    assert len(rows(said.out)) == 2
    assert "caffe2 loses 0.000 points of bbox AP against eager; allowed are -200" in said.err


CONFIG = ["--config-file", DEMO / "config.yaml"]
REFUSED = {
    "writes Caffe2 nets for the CPU, not for 'cuda'. Give MODEL.DEVICE cpu": ([], "cuda"),
    "Give --config-file": ([], "cpu"),
    "2017_nowhere": (
        ["--config-file", DEMO / "config.yaml", "--run-eval", "DATASETS.TEST", "('2017_nowhere',)"],
        "cpu",
    ),
    "is not an artifact, so it is not overwritten": (["--config-file", DEMO / "config.yaml"], "cpu"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused_before_any_work(message, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("D2DEPLOY_CAFFE2_PYTHON", str(Path(__file__)))  # not started
    options, device = REFUSED[message]
    folder = tmp_path / "caffe2_model"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    assert convert("--output", folder, *options, device=device) == 2
    assert message in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]


def test_without_the_runtime_nothing_can_be_measured(coco, tmp_path, capsys, monkeypatch):
    """Said at once, not after the network has been measured."""
    monkeypatch.delenv("D2DEPLOY_CAFFE2_PYTHON", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "caffe2_model"
    assert convert("--config-file", DEMO / "config.yaml", "--output", folder, "--run-eval", *coco) == 2
    said = capsys.readouterr()
    assert "d2deploy caffe2-runtime --python" in said.err and said.out == "" and not folder.exists()
