"""Export as a whole: what it refuses before any work, and that a failed proof leaves nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from d2deploy.errors import ExportError, Mismatch, OutputError
from d2deploy.workflows.export import export, find_format

DEMO = Path(__file__).parents[2] / "src" / "d2deploy" / "demo"


@pytest.fixture(scope="module")
def model() -> Any:
    from d2deploy import load_model

    return load_model(DEMO / "config.yaml", DEMO / "model_final.pth")


@pytest.mark.parametrize(
    ("name", "method", "words"),
    [("onxx", None, "no format 'onxx'"), ("onnx", "guessing", "no method 'guessing'")],
)
def test_unknown_names(name: str, method: str | None, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        find_format(name, method)


def test_methods_that_only_others_have_fall_back() -> None:
    assert find_format("onnx", "scripting")[1] == "tracing"
    assert find_format("torchscript", "scripting")[1] == "scripting"
    assert find_format("torchscript")[1] == "tracing"


def test_a_verified_export_says_so(model: Any, tmp_path: Path) -> None:
    image = DEMO / "images" / "000045.jpg"
    artifact = export(model, "torchscript", tmp_path / "ts", method="scripting", images=[image])
    assert artifact.manifest.verification is not None and artifact.manifest.verification["ok"] is True
    assert (
        artifact.manifest.source["weights"] == "model_final.pth"
        and len(artifact.manifest.source["weights_sha256"]) == 64
    )
    assert artifact.manifest.options == {"method": "scripting"}


def test_an_export_that_is_not_the_network_is_not_left_behind(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from d2deploy.backends import torchscript

    def wrong(given: Any, folder: Path, *, method: str) -> Any:
        core = _Scaled(given.core)
        return honest(SimpleNamespace(core=core, spec=given.spec, source=given.source), folder, method=method)

    honest = torchscript.export
    monkeypatch.setattr(torchscript, "export", wrong)
    with pytest.raises(Mismatch, match="boxes differ by") as caught:
        export(model, "torchscript", tmp_path / "ts", images=[DEMO / "images" / "000045.jpg"])
    assert not caught.value.report.ok
    assert list(tmp_path.iterdir()) == []


def test_nothing_compared_is_no_proof(model: Any, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="nothing was compared"):
        export(model, "torchscript", tmp_path / "ts", images=[np.full((50, 60, 3), 116, np.uint8)])
    assert list(tmp_path.iterdir()) == []


def test_only_an_artifact_is_overwritten(model: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not an artifact"):
        export(model, "torchscript", tmp_path, overwrite=True, verify=False)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def _Scaled(core: Any) -> Any:
    import torch

    class Scaled(torch.nn.Module):
        """The network with boxes that are off by 0.1 %."""

        def __init__(self) -> None:
            super().__init__()
            self.core = core

        def forward(self, images: torch.Tensor, image_sizes: torch.Tensor) -> list[torch.Tensor]:
            boxes, *rest = self.core(images, image_sizes)
            return [boxes * 1.001, *rest]

    return Scaled()
