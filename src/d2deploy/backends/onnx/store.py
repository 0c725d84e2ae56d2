"""A graph on disk: one file, or, when it is too large for that, a second one with its weights."""

from pathlib import Path
from typing import Any

from d2deploy.optional import optional

# A protobuf message ends at 2 GiB (protobuf.dev/programming-guides/proto-limits); the rest is room for nodes.
MOST = 2**31 - 2**27
WORTH_IT = 1024  # bytes of a weight; smaller ones stay in the graph


def store(proto: Any, file: Path, *, most: int = MOST) -> None:
    """Check `proto` (onnx.ModelProto) and write it to `file`; with more than `most` bytes of weights those beside it.

    The second file is called as the first with ".data" behind; both must stay in one folder (ONNX's external data).
    """
    onnx = optional("onnx", extra="onnx")
    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) <= most:
        onnx.checker.check_model(proto, full_check=True)
        file.write_bytes(proto.SerializeToString())
        return
    onnx.save_model(proto, file, save_as_external_data=True, location=f"{file.name}.data", size_threshold=WORTH_IT)
    onnx.checker.check_model(str(file), full_check=True)
    # Writing has emptied the graph, which OpenVINO may be made of next.
    onnx.load_external_data_for_model(proto, str(file.parent))
