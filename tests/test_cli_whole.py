"""The command line with resizing and post-processing inside the file: it needs nobody to do either."""

import json
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as rle

import d2deploy
from d2deploy.image import read_image
from d2deploy.results.written import encode_mask

DEMO = Path(d2deploy.__file__).parent / "demo"
IMAGE = DEMO / "images" / "000045.jpg"
NETWORK = ("--config-file", DEMO / "config.yaml", "--weights", DEMO / "model_final.pth")
BOTH = ("--include-preprocess", "--include-postprocess")


def test_image_in_results_out(run, tmp_path):
    code, out, err = run("export", *NETWORK, "--format", "torchscript", *BOTH, "--output", tmp_path)
    assert code == 0, err
    assert "torchscript against eager: the same" in out
    artifact = tmp_path / "torchscript"
    inspected = run("inspect", artifact)[1]
    assert "image uint8[H, W, 3]" in inspected and "masks bool[D, H, W]" in inspected and "inside" in inspected

    found, expected = (
        json.loads(run("predict", *source, IMAGE, "--json", "-")[1]) for source in ((artifact,), NETWORK)
    )
    ours, theirs = (list(result["images"][0]["instances"]) for result in (found, expected))
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a["box"], b["box"], atol=1e-2)

    # Without any code of ours: the file, and an image in BGR, as this network takes it.
    module = torch.jit.load(str(artifact / "model.ts"))
    boxes, scores, classes, _, masks = module(torch.from_numpy(read_image(IMAGE).copy()))
    assert len(boxes) == len(scores) == len(classes) == len(masks) == len(theirs)
    assert masks.dtype == torch.bool and masks.shape[1:] == read_image(IMAGE).shape[:2]
    for mask, b in zip(masks.numpy(), theirs, strict=True):
        assert rle.iou([encode_mask(mask)], [b["mask"]], [0])[0, 0] >= 0.99


def test_with_the_padded_form_it_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in BOTH:
        code, out, err = run("export", *NETWORK, "--format", "onnx", "--outputs", "padded", option, "--output", "out")
        assert code == 2 and "--outputs padded is for runtimes of one shape" in err and out == ""
    assert list(tmp_path.iterdir()) == []
