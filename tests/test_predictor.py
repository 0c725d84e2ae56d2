"""Image in, result out. The model here finds coloured rectangles, so every result is known by construction."""

import dataclasses
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from d2deploy.artifact import ModelSpec, Preprocess, TensorSpec, Thresholds, write_artifact
from d2deploy.errors import ArtifactError, ImageError
from d2deploy.predictor import Predictor
from d2deploy.results import SemanticResult

INPUTS = (
    TensorSpec(name="images", shape=("N", 3, "H", "W"), dtype="float32"),
    TensorSpec(name="image_sizes", shape=("N", 2), dtype="int64"),
)
OUTPUTS = (
    TensorSpec(name="boxes", shape=("D", 4), dtype="float32"),
    TensorSpec(name="scores", shape=("D",), dtype="float32"),
    TensorSpec(name="classes", shape=("D",), dtype="int64"),
    TensorSpec(name="image_index", shape=("D",), dtype="int64"),
    TensorSpec(name="mask_probs", shape=("D", 28, 28), dtype="float32"),
)
SPEC = ModelSpec(
    meta_architecture="GeneralizedRCNN",
    inputs=INPUTS,
    outputs=OUTPUTS,
    preprocess=Preprocess(
        min_size=60, max_size=200, channel_order="BGR", size_divisor=32, pixel_mean=(0.0,) * 3, pixel_std=(1.0,) * 3
    ),
    thresholds=Thresholds(score=0.05, nms=0.5, max_detections=100),
    num_classes=3,
    class_names=("first", "second", "third"),
)


class ChannelFinder:
    """Finds, in each image and channel, the rectangle of values above 127; its class is the number of the channel."""

    inputs = INPUTS

    def __init__(self, outputs=OUTPUTS):
        self.outputs = outputs
        self.is_closed = False
        self.calls = []

    def __call__(self, images, image_sizes):
        self.calls.append((images, image_sizes))
        rows = []
        for index, image in enumerate(images):
            for channel, plane in enumerate(image):
                y, x = np.nonzero(plane > 127)
                if len(y):
                    rows.append((index, channel, [x.min(), y.min(), x.max() + 1, y.max() + 1]))
        found = {
            "boxes": np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
            "scores": np.full(len(rows), 0.9, np.float32),
            "classes": np.array([channel for _, channel, _ in rows], np.int64),
            "image_index": np.array([index for index, _, _ in rows], np.int64),
            "mask_probs": np.ones((len(rows), 28, 28), np.float32),
        }
        return tuple(found[t.name] for t in self.outputs if t.name in found)

    def close(self):
        self.is_closed = True


@pytest.fixture
def opened(monkeypatch):
    """Makes "fake" the only format; gives the function that says which runner it loads."""
    holder = SimpleNamespace(runner=ChannelFinder())
    package = ModuleType("d2deploy.backends")
    vars(package)["FORMATS"] = {"fake": SimpleNamespace(module="plain", runtime_extra="plain")}
    module = ModuleType("d2deploy.backends.plain")
    vars(module)["load"] = lambda source, device: holder.runner
    for made in (package, module):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    return holder


def source(spec=SPEC, **preprocess):
    rule = dataclasses.replace(spec.preprocess, **preprocess)
    return SimpleNamespace(format="fake", spec=dataclasses.replace(spec, preprocess=rule))


def scene(height, width, box, channel):
    """A black BGR image with one rectangle, bright in one channel."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2, channel] = 255
    return image


@pytest.mark.parametrize("min_size", [0, 30, 60, 120])
def test_detections_come_in_pixels_of_the_original(opened, min_size):
    box = [30, 20, 90, 50]
    found = Predictor(source(min_size=min_size))(scene(60, 120, box, 1))
    assert found.image_size == (60, 120)
    assert found.pred_classes.tolist() == [1]
    np.testing.assert_allclose(found.pred_boxes, [box], atol=1.01)
    expected = np.zeros((60, 120), bool)
    expected[20:50, 30:90] = True
    assert (found.pred_masks[0] != expected).mean() < 0.03


@pytest.mark.parametrize(("channel_order", "expected"), [("BGR", 0), ("RGB", 2)])
def test_arrays_are_bgr_whatever_the_model_wants(opened, channel_order, expected):
    found = Predictor(source(channel_order=channel_order))(scene(60, 60, [9, 9, 40, 40], 0))
    assert found.pred_classes.tolist() == [expected]


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "array"])
def test_files_and_arrays_give_the_same(opened, tmp_path, kind):
    image = scene(50, 70, [10, 12, 30, 40], 2)
    path = tmp_path / "a.png"
    Image.fromarray(image[..., ::-1]).save(path)
    given = {"path": path, "str": str(path), "bytes": path.read_bytes(), "array": image}[kind]
    predictor = Predictor(source())
    found, expected = predictor(given), predictor(image)
    assert found.pred_classes.tolist() == [2]
    np.testing.assert_array_equal(found.pred_boxes, expected.pred_boxes)
    np.testing.assert_array_equal(found.pred_masks, expected.pred_masks)


def test_a_batch_is_the_single_images_in_order(opened):
    images = [
        scene(60, 120, [30, 20, 90, 50], 1),
        scene(60, 60, [0, 0, 0, 0], 0),  # nothing to find
        scene(150, 50, [5, 100, 45, 140], 2),
        scene(1, 90, [0, 0, 90, 1], 0),
    ]
    predictor = Predictor(source())
    together = predictor.batch(images)
    images_in, sizes = opened.runner.calls[-1]
    assert images_in.shape == (4, 3, 192, 224)
    assert sizes.tolist() == [[60, 120], [60, 60], [180, 60], [2, 200]]
    assert [len(found.scores) for found in together] == [1, 0, 1, 1]
    for found, image in zip(together, images, strict=True):
        alone = predictor(image)
        assert found.image_size == image.shape[:2]
        for name in ("pred_boxes", "scores", "pred_classes", "pred_masks"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))


def test_no_image_is_no_result(opened):
    assert Predictor(source()).batch([]) == []
    assert opened.runner.calls == []


def test_a_model_without_masks(opened):
    opened.runner = ChannelFinder(OUTPUTS[:4])
    found = Predictor(source(dataclasses.replace(SPEC, outputs=OUTPUTS[:4])))(scene(60, 60, [9, 9, 40, 40], 0))
    assert (len(found.scores), found.pred_masks) == (1, None)


def test_an_artifact_folder_will_do(opened, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    write_artifact(tmp_path, format="fake", file="model.bin", spec=SPEC, made_with={}, source={}, options={})
    predictor = Predictor(tmp_path)
    assert predictor.spec == SPEC
    assert len(predictor(scene(60, 60, [9, 9, 40, 40], 0)).scores) == 1


def test_leaving_the_block_closes_the_runner(opened):
    with Predictor(source()) as predictor:
        assert not opened.runner.is_closed
        assert predictor.spec == SPEC
    assert opened.runner.is_closed


def test_a_bad_image_is_an_image_error(opened, tmp_path):
    predictor = Predictor(source())
    with pytest.raises(ImageError, match="does not exist"):
        predictor(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match="must be uint8"):
        predictor(np.zeros((4, 4), np.uint8))


MISMATCHES = {
    "one output less": (OUTPUTS[:4], OUTPUTS, "has the outputs boxes, scores, classes, image_index; its manifest"),
    "another order": (OUTPUTS[::-1], OUTPUTS, "has the outputs mask_probs"),
    "none at all": ((), OUTPUTS, "has the outputs none"),
    "no boxes": (OUTPUTS[1:], OUTPUTS[1:], "which make no result that is known"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_outputs_that_differ_from_the_manifest_are_an_artifact_error(opened, case):
    has, promised, message = MISMATCHES[case]
    opened.runner = ChannelFinder(has)
    with pytest.raises(ArtifactError, match=message):
        Predictor(source(dataclasses.replace(SPEC, outputs=promised)))
    assert opened.runner.is_closed


def test_inputs_that_differ_are_an_artifact_error(opened):
    opened.runner.inputs = INPUTS[:1]
    with pytest.raises(ArtifactError, match="has the inputs images; its manifest promises images, image_sizes"):
        Predictor(source())


def test_a_run_that_gives_fewer_arrays_is_an_artifact_error(opened, monkeypatch):
    monkeypatch.setattr(ChannelFinder, "__call__", lambda self, *arrays: ())
    with pytest.raises(ArtifactError, match="gave 0 outputs"):
        Predictor(source())(scene(60, 60, [9, 9, 40, 40], 0))


class Regions:
    """Says of each pixel which channel is brightest there."""

    inputs = INPUTS
    outputs = (TensorSpec(name="sem_seg", shape=("N", 3, "H_padded", "W_padded"), dtype="float32"),)

    def __init__(self):
        self.is_closed = False

    def __call__(self, images, image_sizes):
        return (images,)

    def close(self):
        self.is_closed = True


def test_a_semantic_model_gives_every_pixel_a_class(opened):
    opened.runner = Regions()
    predictor = Predictor(source(dataclasses.replace(SPEC, outputs=Regions.outputs, thresholds=None, num_classes=0)))
    images = [scene(60, 120, [30, 20, 90, 50], 1), scene(90, 60, [0, 30, 60, 90], 2)]
    for found, (rows, columns), channel in zip(
        predictor.batch(images), ((slice(20, 50), slice(30, 90)), (slice(30, 90), slice(0, 60))), (1, 2), strict=True
    ):
        assert isinstance(found, SemanticResult)
        expected = np.zeros(found.image_size, int)
        expected[rows, columns] = channel
        np.testing.assert_array_equal(found.labels, expected)


class GivenBoxes:
    """Detects the proposals that it is given."""

    outputs = OUTPUTS[:4]
    inputs = (
        *INPUTS,
        TensorSpec(name="proposal_boxes", shape=("N", "P", 4), dtype="float32"),
        TensorSpec(name="num_proposals", shape=("N",), dtype="int64"),
    )

    def __init__(self):
        self.calls = []

    def __call__(self, images, image_sizes, proposal_boxes, num_proposals):
        self.calls.append((images, image_sizes, proposal_boxes, num_proposals))
        rows = [(i, box) for i, count in enumerate(num_proposals) for box in proposal_boxes[i, :count]]
        found = {
            "boxes": np.array([box for _, box in rows], np.float32).reshape(-1, 4),
            "scores": np.full(len(rows), 0.9, np.float32),
            "classes": np.zeros(len(rows), np.int64),
            "image_index": np.array([i for i, _ in rows], np.int64),
        }
        return tuple(found[t.name] for t in self.outputs)


@pytest.fixture
def fast_rcnn(opened):
    opened.runner = GivenBoxes()
    spec = dataclasses.replace(SPEC, inputs=GivenBoxes.inputs, outputs=OUTPUTS[:4])
    return Predictor(source(spec, min_size=30, max_size=300))


def test_proposals_go_in_and_come_back_in_pixels_of_the_original(fast_rcnn, opened):
    assert fast_rcnn.takes_proposals
    boxes = np.array([[10, 20, 40, 50], [-10, 10, 200, 30]])
    found = fast_rcnn(BLACK, proposals=boxes)
    np.testing.assert_allclose(found.pred_boxes, [[10, 20, 40, 50], [0, 10, 120, 30]], atol=1e-4)
    _, _, proposals, counts = opened.runner.calls[-1]
    assert (proposals.dtype, counts.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(proposals, [[[5, 10, 20, 25], [0, 5, 60, 15]]])


def test_proposals_without_area_are_left_out_and_the_rest_is_padded(fast_rcnn, opened):
    gone = [[5, 5, 5, 9], [9, 9, 5, 5], [200, 0, 300, 10]]
    given = [np.array([gone[0], [0, 0, 10, 10], gone[1], gone[2], [0, 0, 20, 20]]), np.zeros((0, 4)), [[0, 0, 4, 4]]]
    found = fast_rcnn.batch([BLACK] * 3, proposals=given)
    _, _, proposals, counts = opened.runner.calls[-1]
    assert proposals.shape == (3, 2, 4)
    assert counts.tolist() == [2, 0, 1]
    assert [len(instances.scores) for instances in found] == [2, 0, 1]
    np.testing.assert_allclose(found[0].pred_boxes[:, 2], [10, 20])


BLACK = np.zeros((60, 120, 3), np.uint8)
BAD_PROPOSALS = {
    "none": (None, "needs proposals, boxes"),
    "one column less": (np.zeros((2, 3)), r"Proposals are \[2, 3\]; they must be boxes"),
    "not a number": (np.full((1, 4), np.nan), "finite numbers"),
    "ragged": ([[1, 2, 3, 4], [1, 2]], "must be boxes"),
    "words": ([["a", "b", "c", "d"]], "must be boxes"),
}


@pytest.mark.parametrize("case", BAD_PROPOSALS)
def test_proposals_that_cannot_be_used(fast_rcnn, case):
    given, message = BAD_PROPOSALS[case]
    with pytest.raises(ImageError, match=message):
        fast_rcnn(BLACK, proposals=given)


def test_proposals_for_another_number_of_images(fast_rcnn):
    with pytest.raises(ImageError, match="There are 1 images and proposals for 2"):
        fast_rcnn.batch([BLACK], proposals=[np.zeros((1, 4))] * 2)


def test_a_model_that_takes_no_proposals_refuses_them(opened):
    predictor = Predictor(source())
    assert not predictor.takes_proposals
    with pytest.raises(ImageError, match="takes no proposals"):
        predictor(BLACK, proposals=np.zeros((1, 4)))


def test_inputs_that_nobody_can_give_are_an_artifact_error(opened):
    opened.runner.inputs = (*INPUTS, TensorSpec(name="depth", shape=("N",), dtype="float32"))
    with pytest.raises(ArtifactError, match="has the inputs images, image_sizes, depth; it must take"):
        Predictor(source(dataclasses.replace(SPEC, inputs=opened.runner.inputs)))
