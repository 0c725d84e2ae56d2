"""Caffe2Model, with the interface of detectron2's: what a network in memory takes and gives, from Caffe2."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from d2deploy.artifact import MANIFEST, ModelSpec, read_artifact
from d2deploy.backends.caffe2 import FILE, INIT_FILE, open_nets
from d2deploy.backends.caffe2.client import WorkerDied
from d2deploy.backends.caffe2.drawing import draw
from d2deploy.backends.caffe2.foreign import read_foreign
from d2deploy.backends.caffe2.inputs import Given, read_inputs
from d2deploy.backends.caffe2.messages import read_net, text_of
from d2deploy.backends.caffe2.runner import Caffe2Runner
from d2deploy.errors import ArtifactError, ImageError
from d2deploy.image import to_batch
from d2deploy.postprocess import Frame, to_result
from d2deploy.results import Instances, PanopticResult, Proposals, Result, SemanticResult
from d2deploy.writing import write_text, writing_to

PICTURE, TEXT = "model.svg", "model.pbtxt"


class Caffe2Model:
    """A network in Caffe2's files, called as detectron2's networks are.

        model = Caffe2Model.load_protobuf("out/caffe2")
        outputs = model([{"image": image, "height": 480, "width": 640}])
        print(outputs[0]["instances"].pred_boxes)

    For programs that were written for detectron2's class of this name; Predictor is simpler, and reads and resizes
    images itself. Runs in a process of its own, started at the first call (see `d2deploy caffe2-runtime`); `close`, or
    the end of this object, ends it. Threads may share a model.

    Two files without a manifest.json, such as detectron2's exporter wrote, are run, too, where the nets hold all that
    is needed: R-CNN with boxes, masks and keypoint heat maps, and Panoptic FPN. Such files say nothing about resizing,
    the order of channels and names of classes, and have no hash to tell damaged weights by. Keypoints of detectron2's
    own nets are off by some pixels, for its exporter wrote another interpolation into them.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._runner: Caffe2Runner | None = None
        self._lock = threading.Lock()  # threads that call it first start one process
        self._one_by_one = False
        self._fill: tuple[float, ...] = (0.0,)
        if (self._folder / MANIFEST).is_file():
            self._spec = _spec_of(self._folder)
        else:
            foreign = read_foreign(self.predict_net, self.init_net, self._folder)
            self._spec, self._one_by_one, self._fill = foreign.spec, foreign.one_by_one, foreign.fill

    @classmethod
    def load_protobuf(cls, folder: str | Path) -> Self:
        """The model in `folder`: model.pb and model_init.pb, and the manifest.json that d2deploy writes beside them.

        Needs no Caffe2 yet. Raises ArtifactError: files that are missing, damaged or of another format, and nets
        without a manifest that cannot be run without one (see the class).
        """
        return cls(folder)

    @property
    def predict_net(self) -> Any:
        """The network: a NetDef, read anew."""
        return _net(self._folder / FILE)

    @property
    def init_net(self) -> Any:
        """What fills its weights: a NetDef, read anew."""
        return _net(self._folder / INIT_FILE)

    def __call__(self, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What the network finds on each image; all are padded to the largest and run as one batch.

        Each input: "image", an array or tensor [3,H,W] of any dtype of numbers, 0..255, already resized for the
        network, channels in the order of its config; and perhaps "height" and "width" of the image that results are
        for, by default H and W. For a network that takes proposals also "proposals": boxes [P,4] in pixels of "image",
        best first, or an object that has them as proposal_boxes.

        Each output: "instances", an Instances; of panoptic networks also "sem_seg", logits float32 [C,height,width],
        and "panoptic_seg", a pair of int32 [height,width] and the list of its segments, dicts with detectron2's keys;
        of semantic networks "sem_seg" alone; of proposal networks "proposals", a Proposals. Boxes, masks and maps are
        on height x width.

        Raises ImageError for inputs of another kind, MissingExtra without a runtime, ArtifactError when Caffe2 refuses
        the nets, WorkerDied when its process ends or takes too long.
        """
        given = self._read(inputs)
        size = 1 if self._one_by_one else max(len(given), 1)
        batches = [given[start : start + size] for start in range(0, len(given), size)]
        return [found for batch in batches for found in self._found(batch)]

    def save_protobuf(self, folder: str | Path) -> None:
        """Write model.pb, model_init.pb and model.pbtxt, and what else belongs to an artifact, into a new folder.

        Raises OutputError when there is something in it already, or the disk refuses.
        """
        with writing_to(Path(folder)) as new:
            for name in (FILE, INIT_FILE, TEXT, PICTURE, MANIFEST):
                if (self._folder / name).is_file():
                    shutil.copyfile(self._folder / name, new / name)
            if not (new / TEXT).exists():
                (new / TEXT).write_text(text_of(self.predict_net))

    def save_graph(self, file: str | Path, inputs: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Draw the network as an SVG file.

        With `inputs` (as for a call) it is run, and the arrows have the sizes of that run. Without, they have sizes in
        terms of N, H and W where d2deploy exported the network, and none elsewhere. Raises OutputError, and with
        `inputs` what a call raises.
        """
        own = self._folder / PICTURE
        if inputs is None and own.is_file():
            write_text(Path(file), own.read_text())
            return
        net = self.predict_net
        shapes = {} if inputs is None else self._shapes(net, inputs)
        write_text(Path(file), draw(net, self.init_net, shapes))

    def close(self) -> None:
        """End the process. A call starts it again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _running(self) -> Iterator[Caffe2Runner]:
        """The runner; after one that has died the next call has a new one."""
        with self._lock:
            if self._runner is None:
                files = self._folder / FILE, self._folder / INIT_FILE
                self._runner = open_nets(*files, self._spec, one_by_one=self._one_by_one)
            runner = self._runner
        try:
            yield runner
        except (WorkerDied, KeyboardInterrupt):
            self.close()
            raise

    def _read(self, inputs: Sequence[Mapping[str, Any]]) -> list[Given]:
        takes = {tensor.name for tensor in self._spec.inputs}
        return read_inputs(inputs, with_proposals="proposal_boxes" in takes)

    def _found(self, batch: list[Given]) -> list[dict[str, Any]]:
        """What is in some of the images, run as one batch."""
        with self._running() as runner:
            arrays = runner(*self._arrays(batch))
        outputs = {tensor.name: array for tensor, array in zip(self._spec.outputs, arrays)}
        frames = [
            Frame(input_size=given.pixels.shape[1:], image_size=given.result_size, index=index)
            for index, given in enumerate(batch)
        ]
        return [as_dict(to_result(outputs, self._spec, frame)) for frame in frames]

    def _arrays(self, batch: list[Given]) -> list[np.ndarray]:
        """The network's inputs."""
        last = [given.pixels.transpose(1, 2, 0) for given in batch]
        divisor = self._spec.preprocess.size_divisor
        images, sizes = to_batch(last, channel_order="BGR", size_divisor=divisor)  # channels stay as they came
        for canvas, (height, width) in zip(images, sizes):
            for padding in (canvas[:, height:], canvas[:, :, width:]):
                padding[...] = np.reshape(self._fill, (-1, 1, 1))
        return [images, sizes, *_padded([given.proposals for given in batch if given.proposals is not None])]

    def _shapes(self, net: Any, inputs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        given = self._read(inputs)
        if not given:
            raise ImageError("There is no input to run the network on. Give at least one.")
        arrays = self._arrays(given[:1] if self._one_by_one else given)
        blobs = ["data", *dict.fromkeys(name for op in net.op for name in op.output)]
        with self._running() as runner:
            shapes = runner.shapes(blobs, *arrays)
        return {name: " x ".join(map(str, shape)) for name, shape in shapes.items()}


def _padded(proposals: list[np.ndarray]) -> list[np.ndarray]:
    """Boxes [P,4] of each image as proposal_boxes[N,P,4] and num_proposals[N]; none where there are none."""
    if not proposals:
        return []
    counts = np.array([len(boxes) for boxes in proposals])
    padded = np.zeros((len(proposals), int(counts.max()), 4), np.float32)
    for canvas, boxes in zip(padded, proposals):
        canvas[: len(boxes)] = boxes
    return [padded, counts]


def as_dict(result: Result) -> dict[str, Any]:
    """A result as detectron2's networks give it (docs/tutorials/models.md, "Model Output Format", 02b5c4e2)."""
    return _DICTS[type(result)](result)


def _panoptic(result: PanopticResult) -> dict[str, Any]:
    segments = []
    for segment in result.segments:
        made = {"id": segment.id, "isthing": segment.is_thing, "category_id": segment.category_id}
        known = {key: getattr(segment, key) for key in ("score", "instance_id", "area")}
        segments.append(made | {key: value for key, value in known.items() if value is not None})
    instances = {} if result.instances is None else {"instances": result.instances}
    return {"sem_seg": result.sem_seg.sem_seg, **instances, "panoptic_seg": (result.panoptic_seg, segments)}


_DICTS: dict[type, Callable[[Any], dict[str, Any]]] = {
    Instances: lambda result: {"instances": result},
    PanopticResult: _panoptic,
    Proposals: lambda result: {"proposals": result},
    SemanticResult: lambda result: {"sem_seg": result.sem_seg},
}


def _spec_of(folder: Path) -> ModelSpec:
    artifact = read_artifact(folder)
    if artifact.format != "caffe2":
        raise ArtifactError(f"{folder} holds {artifact.format}, not Caffe2. Use Predictor, which runs every format.")
    return artifact.spec


def _net(file: Path) -> Any:
    if not file.is_file():
        raise ArtifactError(f"{file} is missing. Give the folder with {FILE} and {INIT_FILE}.")
    return read_net(file)
