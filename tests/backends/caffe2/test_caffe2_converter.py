"""caffe2_converter: detectron2's command line, the files that it writes, both accuracies."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from d2deploy.cli.caffe2_converter import main

TESTS = Path(__file__).parents[2]
DEMO = TESTS.parent / "src" / "d2deploy" / "demo"
SHAPES = TESTS / "golden" / "shapes"


def convert(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "MODEL.WEIGHTS", str(DEMO / "model_final.pth"), "MODEL.DEVICE", "cpu"])
    return int(ended.value.code or 0)


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


def test_run_eval(runtime, tmp_path, capsys):
    data = ("--coco-json", SHAPES / "annotations" / "instances_val.json", "--image-root", SHAPES / "val", "--limit", 8)
    folder = tmp_path / "caffe2_model"
    assert convert("--config-file", DEMO / "config.yaml", "--output", folder, "--run-eval", *data) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(bbox|segm) +AP +([\d.]+) +([\d.]+) +([+-][\d.]+)$", out, flags=re.MULTILINE)
    assert [row[0] for row in rows] == ["bbox", "segm"]
    assert all(float(eager) > 30 and abs(float(change)) <= 0.01 for _, eager, _, change in rows)
