"""The formats: one row each, readable without importing anything heavy. A row's module has `export` and `load`."""

from dataclasses import dataclass, fields
from typing import Any

from d2deploy.errors import ExportError

OUTPUT_FORMS = ("ragged", "padded")
"""How outputs come: rows of all images in one list, or as many rows for each image."""
SIGNATURES = ("d2deploy", "detectron2")
"""How the model is called: as docs/architecture.md says, or as detectron2's own exports are (signature.py)."""


OF_FILE = ("signature", "half_weights")
"""The fields of Contract that whoever writes the file is told."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """How a network is to be asked, to answer, to be kept. Each field is an option of export; its default is the
    core's own."""

    outputs: str = "ragged"
    threshold_inputs: bool = False  # score and NMS threshold are inputs
    include_preprocess: bool = False  # it takes an image and resizes it itself
    include_postprocess: bool = False  # it answers on the original image
    signature: str = "d2deploy"
    half_weights: bool = False  # its file holds weights in 16 bits

    @property
    def changes(self) -> tuple[str, ...]:
        """The fields that are not the core's own."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    @property
    def of_file(self) -> dict[str, Any]:
        """Arguments for the writer of a file: what of it is not as usual."""
        return {name: getattr(self, name) for name in OF_FILE if name in self.changes}


_WHOLE = ("include_preprocess", "include_postprocess")


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format. `module`, in this package, pairs its writer and its reader."""

    name: str
    module: str
    extra: str  # pip extra that brings what writing it needs
    runtime_extra: str  # pip extra that brings what running it needs
    summary: str
    methods: tuple[str, ...]  # ways to capture the network; the first is the default
    contract: tuple[str, ...] = ("outputs", *_WHOLE)  # the fields of Contract that it can do other than the core's own
    is_apart: bool = False  # runs in an environment of its own, not in this Python; it may not be there


_ROWS = (
    Format(
        name="torchscript",
        module="torchscript",
        extra="torch",
        runtime_extra="torch",
        summary="one .ts file; runs in Python and C++ with libtorch alone",
        methods=("tracing", "scripting"),
        contract=("outputs", *_WHOLE, "signature"),
    ),
    Format(
        name="onnx",
        module="onnx",
        extra="onnx",
        runtime_extra="onnxruntime",
        summary="one .onnx file, opset 18, standard operators only; runs in ONNX Runtime",
        methods=("tracing",),
        contract=("outputs", "threshold_inputs", *_WHOLE),
    ),
    Format(
        name="openvino",
        module="openvino",
        extra="openvino",
        runtime_extra="openvino-runtime",
        summary="model.xml and model.bin, made from the ONNX graph; runs in OpenVINO",
        methods=("tracing",),
        contract=("outputs", "threshold_inputs", *_WHOLE, "half_weights"),
    ),
    Format(
        name="caffe2",
        module="caffe2",
        extra="caffe2",
        runtime_extra="caffe2",
        summary="model.pb and model_init.pb; run in the real Caffe2, on a Python of its own",
        methods=("tracing",),
        contract=(),
        is_apart=True,
    ),
)

FORMATS = {row.name: row for row in _ROWS}


def check_contract(row: Format, contract: Contract) -> None:
    """Raises ExportError for what does not exist, or what the format cannot do; says which formats can."""
    if contract.outputs not in OUTPUT_FORMS:
        raise ExportError(f"There is no form of outputs {contract.outputs!r}. Forms: {', '.join(OUTPUT_FORMS)}.")
    if contract.signature not in SIGNATURES:
        raise ExportError(f"There is no signature {contract.signature!r}. Signatures: {', '.join(SIGNATURES)}.")
    if contract.signature != "d2deploy" and len(contract.changes) > 1:
        raise ExportError(
            "--signature detectron2 says all of what goes in and comes out. Leave out the other options that do, such "
            "as --outputs."
        )
    if contract.outputs == "padded" and (contract.include_preprocess or contract.include_postprocess):
        raise ExportError(
            "--outputs padded is for runtimes of one shape, --include-preprocess and --include-postprocess are for "
            "images of all. Leave either out."
        )
    for option in contract.changes:
        if option not in row.contract:
            able = [other.name for other in FORMATS.values() if option in other.contract]
            raise ExportError(
                f"{row.name} has no --{option.replace('_', '-')}. Formats that have it: {', '.join(able)}."
            )
