"""Export detectron2 checkpoints, without detectron2, and prove that the export is right.

    model = load_model("config.yaml", "model_final.pth")
    artifact = export(model, "onnx", Path("out/onnx"))
    instances = Predictor(artifact)("street.jpg")

Every name is loaded on first use, so that importing this package loads neither torch nor any other runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d2deploy.artifact import Artifact, read_artifact
    from d2deploy.backends.caffe2.model import Caffe2Model
    from d2deploy.draw import draw_instances, draw_result
    from d2deploy.errors import D2DeployError
    from d2deploy.models.build import load_model
    from d2deploy.predictor import Predictor
    from d2deploy.results import Instances, PanopticResult, Proposals, SemanticResult
    from d2deploy.runner import open_runner
    from d2deploy.workflows.evaluate import evaluate
    from d2deploy.workflows.export import export
    from d2deploy.workflows.verify import verify

__version__ = "0.1.0"

_HOME = {
    "Artifact": "artifact",
    "Caffe2Model": "backends.caffe2.model",
    "D2DeployError": "errors",
    "Instances": "results",
    "PanopticResult": "results",
    "Predictor": "predictor",
    "Proposals": "results",
    "SemanticResult": "results",
    "draw_instances": "draw",
    "draw_result": "draw",
    "evaluate": "workflows.evaluate",
    "export": "workflows.export",
    "load_model": "models.build",
    "open_runner": "runner",
    "read_artifact": "artifact",
    "verify": "workflows.verify",
}

__all__ = [
    "Artifact",
    "Caffe2Model",
    "D2DeployError",
    "Instances",
    "PanopticResult",
    "Predictor",
    "Proposals",
    "SemanticResult",
    "draw_instances",
    "draw_result",
    "evaluate",
    "export",
    "load_model",
    "open_runner",
    "read_artifact",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
