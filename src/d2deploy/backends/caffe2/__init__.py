"""Caffe2: model.pb and model_init.pb, run by the real Caffe2 in a process on an old Python.

The contract is detectron2's: inputs `data` [N,C,H,W] raw pixels and `im_info` [N,3] (height, width, scale); outputs
listed in names.py. What detectron2's export left to its callers is in the net: any size, any number of images, padding.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2deploy.artifact import Artifact, ModelSpec, write_artifact
from d2deploy.backends.caffe2.check import faults
from d2deploy.backends.caffe2.drawing import draw, words
from d2deploy.backends.caffe2.messages import text_of
from d2deploy.backends.caffe2.names import ALL_INPUTS, ALL_OUTPUTS
from d2deploy.backends.caffe2.runner import Caffe2Runner
from d2deploy.backends.caffe2.runtime import needed_runtime, runtime_python
from d2deploy.errors import DeviceError, ExportError
from d2deploy.optional import optional

if TYPE_CHECKING:
    from torch import nn

    from d2deploy.backends.caffe2.net import Nets
    from d2deploy.backends.capture import Exportable

FILE = "model.pb"
INIT_FILE = "model_init.pb"
MOST = 2**31 - 2**20  # bytes of a protobuf message (protobuf.dev/programming-guides/proto-limits), less what names take
UNPROVEN = "the structure only; without a Caffe2 runtime nobody has run it"


def export(model: "Exportable", folder: Path, *, method: str = "tracing") -> Artifact:
    """Write both nets, their text, their picture and the manifest; the structure is checked, running is verify's part.

    Raises UnsupportedOps with everything that Caffe2 lacks, ExportError for outputs in another form.
    """
    nets = to_nets(model)
    net, init = nets.net, nets.init
    if wrong := faults(net, init):
        raise ExportError(f"d2deploy wrote a wrong Caffe2 net; please report this: {'; '.join(wrong[:5])}")
    (folder / FILE).write_bytes(net.SerializeToString())
    (folder / INIT_FILE).write_bytes(init.SerializeToString())
    (folder / "model.pbtxt").write_text(text_of(net))
    shapes = {name: words(sizes, model.spec.preprocess.size_divisor) for name, sizes in nets.shapes.items()}
    (folder / "model.svg").write_text(draw(net, init, shapes))
    return write_artifact(
        folder,
        format="caffe2",
        file=FILE,
        spec=model.spec,
        source=model.source,
        made_with={
            "torch": optional("torch", extra="caffe2").__version__,
            "protobuf": optional("google.protobuf", extra="caffe2").__version__,
        },
        options={"proven": UNPROVEN} if unproven() else {},
    )


def unproven() -> str:
    """What cannot be shown of an export here, without the runtime; "" where it is."""
    return "" if runtime_python() else UNPROVEN


def to_nets(model: "Exportable") -> "Nets":
    """The two NetDefs of `model`: the network, and what fills its weights."""
    optional("google.protobuf", extra="caffe2")
    import torch

    from d2deploy.backends.caffe2.composites import caffe2_core
    from d2deploy.backends.caffe2.messages import set_arg
    from d2deploy.backends.caffe2.walk import to_nets as walk
    from d2deploy.backends.capture import free_axes, quiet, sample_inputs

    _check_contract(model.spec)
    check_size(model.core)
    with quiet():
        core, inputs, axes = caffe2_core(model.core), sample_inputs(model.spec), free_axes(model.spec)
        program = torch.export.export(core, inputs, dynamic_shapes=axes, strict=False)
    taken = {tensor.name: ALL_INPUTS[tensor.name] for tensor in model.spec.inputs}
    nets = walk(program, taken, [ALL_OUTPUTS[tensor.name] for tensor in model.spec.outputs])
    for name, value in net_args(model.spec).items():
        set_arg(nets.net.arg.add(name=name), value)
    return nets


def _check_contract(spec: ModelSpec) -> None:
    """Raises ExportError for inputs and outputs that a network's core does not have."""
    names = {"takes": (spec.inputs, ALL_INPUTS), "gives": (spec.outputs, ALL_OUTPUTS)}
    for verb, (tensors, known) in names.items():
        if foreign := [tensor.name for tensor in tensors if tensor.name not in known]:
            raise ExportError(
                f"This model {verb} {', '.join(foreign)}, for which a Caffe2 net has no name: as detectron2's, it "
                f"{verb} {', '.join(known)} only. Leave options such as --outputs out, or choose another --format."
            )


def check_size(core: "nn.Module", most: int = MOST) -> None:
    """Raises ExportError when the weights have more than `most` bytes."""
    if (size := sum(tensor.nbytes for tensor in core.state_dict().values())) > most:
        raise ExportError(
            f"The weights have {size / 1e9:.3g} GB, and a Caffe2 file holds {most / 1e9:.3g}: it is one protobuf "
            "message. Choose another --format."
        )


def net_args(spec: ModelSpec) -> dict[str, Any]:
    """What detectron2's nets say of themselves, and the thresholds."""
    args: dict[str, Any] = {
        "size_divisibility": spec.preprocess.size_divisor if spec.preprocess.size_divisor > 1 else 0,
        "device": "cpu",
        "meta_architecture": spec.meta_architecture,
    }
    if spec.thresholds is not None:
        args["score_threshold"] = float(spec.thresholds.score)
        args["nms_threshold"] = float(spec.thresholds.nms)
        args["max_detections_per_image"] = spec.thresholds.max_detections
    if spec.panoptic is not None:
        args["combine_overlap_threshold"] = float(spec.panoptic.overlap)
        args["combine_stuff_area_limit"] = spec.panoptic.stuff_area
        args["combine_instances_confidence_threshold"] = float(spec.panoptic.instance_score)
    return args


def load(artifact: Artifact, device: str = "cpu") -> Caffe2Runner:
    """A runner for the nets. Raises MissingExtra: no runtime; ArtifactError: it refuses them; DeviceError."""
    if device != "cpu":
        raise DeviceError(f"d2deploy runs Caffe2 nets on the CPU, not on {device!r}: use --device cpu.")
    return open_nets(artifact.file, artifact.path / INIT_FILE, artifact.spec)


def open_nets(net: Path, init: Path, spec: ModelSpec, *, one_by_one: bool = False) -> Caffe2Runner:
    """A runner for two files. one_by_one: see Caffe2Runner. Raises as `load`."""
    return Caffe2Runner(needed_runtime(), net, init, spec, one_by_one=one_by_one)
