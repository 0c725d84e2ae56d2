"""Options of the command line that say how an export is asked and answers, and the thresholds that go with it."""

import json
from pathlib import Path

import pytest

import d2deploy

DEMO = Path(d2deploy.__file__).parent / "demo"
IMAGE = DEMO / "images" / "000045.jpg"
NETWORK = ("--config-file", DEMO / "config.yaml", "--weights", DEMO / "model_final.pth")


def test_padded_with_other_thresholds(run, tmp_path):
    given = ("--score-thresh", "0.6", "--nms-thresh", "0.4", "--max-detections", "12")
    options = ("--format", "torchscript", "--outputs", "padded", "--sample-image", IMAGE, "--output", tmp_path)
    code, out, err = run("export", *NETWORK, *given, *options)
    assert code == 0, err
    assert "torchscript against eager: the same" in out
    spec = json.loads((tmp_path / "torchscript" / "manifest.json").read_text())["spec"]
    assert spec["outputs_form"] == "padded"
    assert spec["thresholds"] == {"score": 0.6, "nms": 0.4, "max_detections": 12}
    assert {tensor["name"]: tensor["shape"] for tensor in spec["outputs"]}["boxes"] == ["N", 12, 4]

    code, out, _ = run("predict", tmp_path / "torchscript", IMAGE, "--json", "-")
    found = json.loads(out)["images"][0]["instances"]
    assert code == 0 and 0 < len(found) <= 12

    # verify needs what export was given; an artifact's own thresholds are fixed.
    code, _, err = run("verify", tmp_path / "torchscript", *NETWORK, *given[:4], "--images", IMAGE)
    assert code == 1 and "thresholds max_detections is 12 in the export and 100" in err
    assert run("verify", tmp_path / "torchscript", *NETWORK, *given, "--images", IMAGE)[0] == 0
    code, _, err = run("predict", tmp_path / "torchscript", IMAGE, "--score-thresh", "0.9")
    assert code == 2 and "its thresholds are fixed. Export again" in err
    code, _, err = run("predict", tmp_path / "torchscript", IMAGE, "--max-detections", "3")
    assert code == 2 and "give --max-detections to export" in err


def test_as_detectron2_s_own(run, tmp_path):
    options = ("--format", "torchscript", "--signature", "detectron2", "--sample-image", IMAGE, "--output", tmp_path)
    code, out, err = run("export", *NETWORK, *options)
    assert code == 0, err
    assert "torchscript against eager: the same" in out
    assert "signature detectron2" in run("inspect", tmp_path / "torchscript")[1]
    assert run("predict", tmp_path / "torchscript", IMAGE)[0] == 0


EXPORT = ("export", *NETWORK, "--output", "out", "--format")
REFUSED = {
    "thresholds as inputs": ((*EXPORT, "torchscript", "--threshold-inputs"), "torchscript has no --threshold-inputs"),
    "a signature": ((*EXPORT, "torchscript,onnx", "--signature", "detectron2"), "onnx has no --signature"),
    "two contracts": (
        (*EXPORT, "torchscript", "--signature", "detectron2", "--outputs", "padded"),
        "Leave out the other options that do",
    ),
    "a form": ((*EXPORT, "onnx", "--outputs", "fixed"), "'fixed' is not one of 'ragged', 'padded'"),
    "no detections at all": (("predict", *NETWORK, IMAGE, "--max-detections", "0"), "0 is not in the range x>=1"),
    "a threshold that is none": (("predict", *NETWORK, IMAGE, "--nms-thresh", "1.5"), "nms_thresh is 1.5; it must be"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2 and message in err and out == "" and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
