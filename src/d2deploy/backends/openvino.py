"""OpenVINO: model.xml and model.bin, made from the ONNX graph, run by the `openvino` package without torch.

OpenVINO's own reader takes the ONNX file (no conversion tool, and none of its telemetry). Computed in float32 on CPUs,
whatever faster type the processor has: the runner says so when it compiles.
"""

import dataclasses
import json
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from d2deploy.artifact import Artifact, ModelSpec, TensorSpec, write_artifact
from d2deploy.errors import ArtifactError, DeviceError
from d2deploy.optional import optional
from d2deploy.runner import check_arrays

if TYPE_CHECKING:
    from d2deploy.backends.capture import Exportable

FILE = "model.xml"
_WORTH_IT = 64  # numbers of a constant: a Convert takes room, too


def export(model: "Exportable", folder: Path, *, method: str = "tracing", half_weights: bool = False) -> Artifact:
    """Write model.xml, model.bin and the manifest into `folder`.

    half_weights: what float16 holds to the last digit is stored so, which halves the size of a model whose weights were
    rounded (half_weights.py); it is widened on loading.
    """
    from d2deploy.backends.onnx import to_onnx
    from d2deploy.backends.onnx.store import store

    openvino = optional("openvino", extra="openvino")
    # What is read keeps the file open.
    with TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "model.onnx"
        store(to_onnx(model), file)
        graph = openvino.Core().read_model(file)
        _describe(graph, model.spec)
        if half_weights:
            _halve(graph)
        openvino.save_model(graph, str(folder / FILE), compress_to_fp16=False)
    return write_artifact(
        folder,
        format="openvino",
        file=FILE,
        spec=model.spec,
        source=model.source,
        made_with={name: optional(name, extra="openvino").__version__ for name in ("torch", "onnx", "openvino")},
        options={"weights": "float16" if half_weights else "float32"},
    )


def _describe(graph: Any, spec: ModelSpec) -> None:
    """The manifest's names of outputs, its description, and the names of the classes."""
    for output, tensor in zip(graph.outputs, spec.outputs, strict=True):
        output.get_tensor().set_names({tensor.name})
    graph.set_rt_info(json.dumps(dataclasses.asdict(spec)), ["d2deploy", "spec"])
    # OpenVINO's own convention: names without blanks, one after the other.
    labels = " ".join(name.replace(" ", "_") for name in spec.class_names)
    if labels:
        graph.set_rt_info(labels, ["model_info", "labels"])


def _halve(graph: Any) -> None:
    """Constants that float16 holds exactly become such, each with a Convert behind it.

    OpenVINO's own compress_to_fp16 takes all: anchors lose up to a quarter of a pixel then, and no network is equal.
    """
    operators = import_module("openvino.opset13")
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() != "f32":
            continue
        with np.errstate(over="ignore"):
            half = node.data.astype(np.float16)
        if half.size >= _WORTH_IT and np.array_equal(half, node.data):
            wide = operators.convert(operators.constant(half), "f32")
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(wide.output(0))


class OpenVINORunner:
    """Runs a compiled model: numpy in, numpy out."""

    def __init__(self, compiled: Any, spec: ModelSpec) -> None:
        self.inputs: tuple[TensorSpec, ...] = spec.inputs
        self.outputs: tuple[TensorSpec, ...] = spec.outputs
        self._compiled: Any = compiled

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for `arrays`, in the order of `inputs`."""
        check_arrays(self.inputs, arrays)
        names = [spec.name for spec in self.inputs]
        result = self._compiled(dict(zip(names, arrays, strict=True)))
        return tuple(result[spec.name].copy() for spec in self.outputs)

    def close(self) -> None:
        """Let the model go."""
        self._compiled = None


def load(artifact: Artifact, device: str = "cpu") -> OpenVINORunner:
    """A runner for the files. Raises ArtifactError when OpenVINO cannot load them, DeviceError."""
    openvino = optional("openvino", extra="openvino-runtime")
    core = openvino.Core()
    if device.upper() not in core.available_devices:
        raise DeviceError(
            f"OpenVINO cannot run on {device!r} here; it has {', '.join(d.lower() for d in core.available_devices)}."
        )
    try:
        compiled = core.compile_model(str(artifact.file), device.upper(), {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise ArtifactError(f"{artifact.file} cannot be loaded by OpenVINO: {error}. Export again.") from error
    return OpenVINORunner(compiled, artifact.spec)
