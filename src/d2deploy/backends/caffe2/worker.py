"""Runs Caffe2 nets for a d2deploy process on a newer Python. Start: python worker.py

For Python 3.6 and later with numpy and caffe2, on its own: nothing of d2deploy is imported here.

Requests come on stdin, answers go to stdout: a line of JSON, then the bytes of the arrays that it lists, one after the
other. What the runtime itself prints goes to stderr. When stdin ends, because the other side has closed it or has
died, so does the worker.
"""

import json
import os
import signal
import sys
import threading
import time
from typing import Any


def main() -> None:
    """Answer requests until there are no more."""
    watch(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other side, which may want to go on
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the runtime writes to stdout now and then
    try:
        import numpy
        from caffe2.python import core, workspace
    except Exception as error:
        send(answers, {"error": f"caffe2 cannot be imported by {sys.executable}: {error}"})
        return
    # The log level: errors only.
    core.GlobalInit(["caffe2", "--caffe2_log_level=2"])
    send(answers, {"ready": True, "python": sys.version.split()[0], "operators": workspace.RegisteredOperators()})
    while True:
        line = requests.readline()
        if not line:
            return
        request = json.loads(line.decode())
        arrays = [read_array(requests, item, numpy) for item in request.get("arrays", [])]
        try:
            answer, outputs = HANDLERS[request["do"]](request, arrays, workspace)
        except Exception as error:
            send(answers, {"error": text_of(error)})
            continue
        send(answers, answer, outputs)


def watch(parent: int) -> None:
    """End this process when its parent has ended, even in the middle of a run."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=look, daemon=True).start()


def load(request: Any, arrays: Any, workspace: Any) -> Any:
    """Fill the weights and create the net. Its name is the answer; or the error, and the file that is to blame."""
    file = request["init"]
    try:
        workspace.ResetWorkspace()
        workspace.RunNetOnce(read(file))
        file = request["net"]
        net = read(file)
        for name in request["inputs"]:
            workspace.CreateBlob(name)
        workspace.CreateNet(net)
    except Exception as error:
        return {"error": text_of(error), "file": file}, []
    return {"name": net.name}, []


def read(path: str) -> Any:
    """The net in a file."""
    from caffe2.proto import caffe2_pb2

    net = caffe2_pb2.NetDef()
    with open(path, "rb") as file:
        net.ParseFromString(file.read())
    return net


def run(request: Any, arrays: Any, workspace: Any) -> Any:
    """Feed the inputs, run the net, fetch the outputs."""
    feed_and_run(request, arrays, workspace)
    return {}, [(name, fetched(name, workspace)) for name in request["outputs"]]


def shapes(request: Any, arrays: Any, workspace: Any) -> Any:
    """Feed the inputs, run the net, tell the shapes of blobs."""
    feed_and_run(request, arrays, workspace)
    return {"shapes": {name: list(fetched(name, workspace).shape) for name in request["blobs"]}}, []


def feed_and_run(request: Any, arrays: Any, workspace: Any) -> None:
    """What both have in common."""
    for item, array in zip(request["arrays"], arrays):
        workspace.FeedBlob(item["name"], array)
    workspace.RunNet(request["name"])


def fetched(name: str, workspace: Any) -> Any:
    """A blob as an array of numbers. Blobs of other kinds come as text."""
    blob = workspace.FetchBlob(name)
    if getattr(getattr(blob, "dtype", None), "kind", "O") not in "biuf":
        raise RuntimeError(f"the blob {name} holds no numbers")
    return blob


HANDLERS = {"load": load, "run": run, "shapes": shapes}


def read_array(stream: Any, item: Any, numpy: Any) -> Any:
    """The next array on `stream`: its name, dtype and shape are in `item`."""
    count = int(numpy.prod(item["shape"], dtype="int64"))
    dtype = numpy.dtype(item["dtype"])
    data = stream.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        sys.exit(0)  # the other side died in the middle
    return numpy.frombuffer(data, dtype).reshape(item["shape"])


def send(stream: Any, answer: Any, arrays: Any = ()) -> None:
    """One answer, and the bytes of its arrays."""
    answer["arrays"] = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in arrays]
    stream.write(json.dumps(answer).encode() + b"\n")
    for _, array in arrays:
        if array.size:
            stream.write(array.data if array.flags.c_contiguous else array.tobytes())
    stream.flush()


def text_of(error: Exception) -> str:
    """An error's kind and message."""
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
