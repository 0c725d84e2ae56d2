"""ONNX: standard operators, opset 18, with free N, H, W; run by ONNX Runtime without torch.

One file; of a model over 2 GB two (store.py).
"""

import dataclasses
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from d2deploy.artifact import Artifact, ModelSpec, TensorSpec, write_artifact
from d2deploy.errors import ArtifactError, DeviceError
from d2deploy.optional import optional
from d2deploy.runner import check_arrays

if TYPE_CHECKING:
    from d2deploy.backends.capture import Exportable

FILE = "model.onnx"
OPSET = 18
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def export(model: "Exportable", folder: Path, *, method: str = "tracing") -> Artifact:
    """Write model.onnx and the manifest into `folder`. There is one way to capture; `method` is recorded."""
    from d2deploy.backends.onnx.store import store

    store(to_onnx(model), folder / FILE)
    return write_artifact(
        folder,
        format="onnx",
        file=FILE,
        spec=model.spec,
        source=model.source,
        made_with={name: optional(name, extra="onnx").__version__ for name in ("torch", "onnx", "onnxscript")},
        options={"opset": str(OPSET)},
    )


def to_onnx(model: "Exportable") -> Any:
    """The ONNX graph (onnx.ModelProto), with the manifest's names and description. What writes it checks it."""
    optional("onnx", extra="onnx")
    optional("onnxscript", extra="onnx")
    if model.core not in _GRAPHS:
        proto = _without_notes(_proto(model))
        _describe(proto, model.spec)
        _GRAPHS.clear()
        _GRAPHS[model.core] = proto
    return _GRAPHS[model.core]


# The last graph, while its network lives: it takes half a minute to make, and OpenVINO starts from the same one.
_GRAPHS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _proto(model: "Exportable") -> Any:
    from d2deploy.backends.capture import exported_program, quiet
    from d2deploy.backends.onnx.direct import translate
    from d2deploy.backends.onnx.lowerings import lowerings

    with quiet(), _unlogged("torch.onnx"), _unlogged("onnx_ir"):
        exported = translate(partial(exported_program, model), lowerings(fixed=model.spec.outputs_form == "padded"))
    graph = exported.model.graph
    for value, tensor in zip([*graph.inputs, *graph.outputs], [*model.spec.inputs, *model.spec.outputs], strict=True):
        value.name = tensor.name
    return proto_of(exported)


def proto_of(exported: Any) -> Any:
    """What torch exported, as onnx.ModelProto, each value under a name of its own.

    Inputs and outputs get their names after functions were written out, whose loops have inner names that may be the
    same: an input called image, and in merge_panoptic the image of a mask.
    """
    from onnx_ir.passes.common import NameFixPass

    NameFixPass()(exported.model)
    return exported.model_proto


def _without_notes(proto: Any) -> Any:
    """Without the exporter's notes on each node: stack traces with paths of this machine, an eighth of a small file."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto


def _describe(proto: Any, spec: ModelSpec) -> None:
    """Name the free axes as the manifest does, and put the manifest's description into the file's properties."""
    for value, tensor in zip([*proto.graph.input, *proto.graph.output], [*spec.inputs, *spec.outputs], strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, tensor.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
            else:
                dimension.dim_value = size
    proto.producer_name = "d2deploy"
    prop = proto.metadata_props.add()
    prop.key, prop.value = "d2deploy", json.dumps(dataclasses.asdict(spec))


class _unlogged:
    """Silences a logger for a while: torch warns that torchvision is absent, onnx_ir that outputs are constants."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)


class OnnxRunner:
    """Runs a file in ONNX Runtime: numpy in, numpy out."""

    def __init__(self, session: Any, spec: ModelSpec) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._session: Any = session

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`."""
        check_arrays(self.inputs, arrays)
        names = [spec.name for spec in self.inputs]
        return tuple(self._session.run([spec.name for spec in self.outputs], dict(zip(names, arrays, strict=True))))

    def close(self) -> None:
        """Let the session go."""
        self._session = None


def load(artifact: Artifact, device: str = "cpu") -> OnnxRunner:
    """A runner for the file. Raises ArtifactError when ONNX Runtime cannot load it, DeviceError."""
    ort = optional("onnxruntime", extra="onnxruntime")
    ort.disable_telemetry_events()  # some builds have it, and nobody asked for it
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"This onnxruntime cannot run on {device!r}; it has {', '.join(ort.get_available_providers())}. "
            f"For CUDA: pip install onnxruntime-gpu"
        )
    try:
        session = ort.InferenceSession(str(artifact.file), providers=[provider])
    except Exception as error:  # onnxruntime's exceptions share no base class but this
        raise ArtifactError(f"{artifact.file} cannot be loaded by ONNX Runtime: {error}. Export again.") from error
    return OnnxRunner(session, artifact.spec)
