"""The formats: one row each, readable without importing anything heavy. A row's module has `export` and `load`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format. `module`, in this package, pairs its writer and its reader."""

    name: str
    module: str
    extra: str  # pip extra that brings what writing it needs
    runtime_extra: str  # pip extra that brings what running it needs
    summary: str
    methods: tuple[str, ...]  # ways to capture the network; the first is the default
    is_apart: bool = False  # runs in an environment of its own, not in this Python; it may not be there


_ROWS = (
    Format(
        name="torchscript",
        module="torchscript",
        extra="torch",
        runtime_extra="torch",
        summary="one .ts file; runs in Python and C++ with libtorch alone",
        methods=("tracing", "scripting"),
    ),
    Format(
        name="onnx",
        module="onnx",
        extra="onnx",
        runtime_extra="onnxruntime",
        summary="one .onnx file, opset 18, standard operators only; runs in ONNX Runtime",
        methods=("tracing",),
    ),
    Format(
        name="openvino",
        module="openvino",
        extra="openvino",
        runtime_extra="openvino-runtime",
        summary="model.xml and model.bin, made from the ONNX graph; runs in OpenVINO",
        methods=("tracing",),
    ),
    Format(
        name="caffe2",
        module="caffe2",
        extra="caffe2",
        runtime_extra="caffe2",
        summary="model.pb and model_init.pb; run in the real Caffe2, on a Python of its own",
        methods=("tracing",),
        is_apart=True,
    ),
)

OUTPUT_FORMS = ("ragged", "padded")
"""How outputs come: rows of all images in one list, or as many rows for each image. Caffe2 has only the first."""

FORMATS = {row.name: row for row in _ROWS}
