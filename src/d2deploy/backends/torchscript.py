"""TorchScript: one file that libtorch runs, in Python and C++, on any device. Plain ATen: no library beside it.

`tracing` records the core on a sample, its ops as scripted functions; `scripting` compiles the core's own source. Both
give a list of tensors in the order of the manifest's outputs, with free N, H, W and any number of detections.
"""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import torch

from d2deploy.artifact import Artifact, write_artifact
from d2deploy.backends.capture import Exportable, quiet, sample_inputs, swapped
from d2deploy.backends.eager import TorchRunner, check_device
from d2deploy.backends.signature import SignatureRunner, like_detectron2
from d2deploy.errors import ArtifactError
from d2deploy.ops import LEAVES

FILE = "model.ts"


def export(model: Exportable, folder: Path, *, method: str = "tracing", signature: str = "d2deploy") -> Artifact:
    """Write model.ts and the manifest into `folder`. method: "tracing" or "scripting"; signature: see signature.py."""
    with quiet():
        if signature == "detectron2":
            module, spec = like_detectron2(model, method)
        else:
            module, spec = METHODS[method](model), model.spec
        buffer = io.BytesIO()
        described = {"d2deploy.json": json.dumps(dataclasses.asdict(spec))}
        torch.jit.save(module, buffer, _extra_files=described)
    (folder / FILE).write_bytes(buffer.getbuffer())
    return write_artifact(
        folder,
        format="torchscript",
        file=FILE,
        spec=spec,
        source=model.source,
        made_with={"torch": torch.__version__},
        options={"method": method, **({"signature": signature} if signature != "d2deploy" else {})},
    )


def load(artifact: Artifact, device: str = "cpu") -> TorchRunner | SignatureRunner:
    """A runner for the file. Raises ArtifactError when torch cannot read it, DeviceError."""
    check_device(device)
    try:
        with quiet():
            module = torch.jit.load(str(artifact.file), map_location=device)
    except RuntimeError as error:
        raise ArtifactError(f"{artifact.file} cannot be loaded as TorchScript: {error}. Export again.") from error
    if artifact.manifest.options.get("signature") == "detectron2":
        return SignatureRunner(module, artifact.spec, method=artifact.manifest.options["method"], device=device)
    return TorchRunner(module, artifact.spec, device)


def _trace(model: Exportable) -> Any:
    core = swapped(model.core, dict.fromkeys(LEAVES, torch.jit.script))
    return torch.jit.trace(core, sample_inputs(model.spec), check_trace=False, strict=False)


def _script(model: Exportable) -> Any:
    return torch.jit.script(model.core)


METHODS = {"tracing": _trace, "scripting": _script}
