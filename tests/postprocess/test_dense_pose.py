"""Surfaces on the image against torch's interpolation, class by class as detectron2's converters say.

Facts: detectron2 projects/DensePose/densepose/converters/chart_output_to_chart_result.py, modeling/cse/utils.py.
"""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from d2deploy.artifact import MeshSpec
from d2deploy.postprocess import to_instances
from d2deploy.postprocess.dense_pose import CONFIDENCES
from d2deploy.results import DensePoseChart, DensePoseVertices

INPUT, IMAGE = (80, 120), (160, 240)
# On the network's input; the last one is less than a pixel of the image wide.
BOXES = np.array([[3.3, 5.2, 60.9, 70.1], [0, 0, 120, 80], [40.2, 10, 40.5, 30]], np.float32)
WHOLE = [(6, 10, 115, 129), (0, 0, 240, 160), (80, 20, 1, 40)]  # x, y, width, height on the image
RANDOM = np.random.default_rng(3)


def rows(**more: np.ndarray) -> dict[str, np.ndarray]:
    count = len(BOXES)
    return {
        "boxes": BOXES,
        "scores": np.linspace(0.9, 0.5, count, dtype=np.float32),
        "classes": np.array([0, 1, 2]),
        "image_index": np.zeros(count, np.int64),
        "coarse_segm": noise(2),
        **more,
    }


def noise(channels: int) -> np.ndarray:
    return RANDOM.normal(size=(len(BOXES), channels, 28, 28)).astype(np.float32)


def to_box(maps: np.ndarray, place: tuple[int, int, int, int]) -> torch.Tensor:
    _, _, width, height = place
    return interpolate(torch.from_numpy(maps)[None], (height, width), mode="bilinear", align_corners=False)[0]


def test_each_pixel_has_the_part_that_is_highest_where_the_body_is() -> None:
    charts = {name: noise(25) for name in ("fine_segm", "u", "v", "sigma_2", "kappa_u", "kappa_v")}
    outputs = rows(**charts, fine_segm_confidence=noise(1), coarse_segm_confidence=noise(1))
    found = to_instances(outputs, input_size=INPUT, image_size=IMAGE).pred_densepose
    assert found is not None
    for i, (place, chart) in enumerate(zip(WHOLE, found, strict=True)):
        assert isinstance(chart, DensePoseChart) and chart.labels.dtype == np.uint8
        assert (chart.x, chart.y, *chart.labels.shape[::-1]) == place
        is_body = to_box(outputs["coarse_segm"][i], place).argmax(0) > 0
        labels = to_box(outputs["fine_segm"][i], place).argmax(0) * is_body
        assert (labels.numpy() != chart.labels).mean() < 1e-3
        for name, ours in [("u", chart.uv[0]), ("v", chart.uv[1]), *chart.confidences.items()]:
            maps = to_box(outputs[name][i], place)
            theirs = maps[0] if len(maps) == 1 else maps.gather(0, torch.from_numpy(chart.labels[None].astype(int)))[0]
            if len(maps) > 1:
                theirs = torch.where(torch.from_numpy(chart.labels > 0), theirs, 0)
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert set(chart.confidences) == set(CONFIDENCES)


def test_parts_without_confidence() -> None:
    outputs = rows(**{name: noise(25) for name in ("fine_segm", "u", "v")})
    found = to_instances(outputs, input_size=INPUT, image_size=IMAGE)
    assert found.pred_densepose is not None and not found.pred_densepose[0].confidences
    best = found[found.scores > 0.6]
    assert best.pred_densepose == found.pred_densepose[:2]
    assert found[1:].pred_densepose == found.pred_densepose[1:]


def test_each_pixel_has_the_vertex_of_its_class_that_is_nearest() -> None:
    meshes = (
        MeshSpec(name="cat", num_vertices=30, classes=(0,)),
        MeshSpec(name="dog", num_vertices=50, classes=(1,)),
    )
    vertices = RANDOM.normal(size=(80, 16)).astype(np.float32)
    outputs = rows(embedding=noise(16), vertex_embeddings=vertices)
    found = to_instances(outputs, input_size=INPUT, image_size=IMAGE, meshes=meshes).pred_densepose
    assert found is not None
    for i, (mesh, part) in enumerate([("cat", slice(0, 30)), ("dog", slice(30, 80))]):
        result = found[i]
        assert isinstance(result, DensePoseVertices) and result.mesh == mesh
        is_body = to_box(outputs["coarse_segm"][i], WHOLE[i]).argmax(0) > 0
        assert (is_body.numpy() == (result.vertices >= 0)).all()
        places = to_box(outputs["embedding"][i], WHOLE[i])[:, is_body].T.double()
        apart = torch.cdist(places, torch.from_numpy(vertices[part]).double())
        assert (apart.argmin(1).numpy() != result.vertices[is_body]).mean() < 1e-3
    # The third class has no mesh: that a body is there is all that is known.
    last = found[2]
    assert isinstance(last, DensePoseVertices) and last.mesh == "" and set(np.unique(last.vertices)) <= {-1, 0}


@pytest.mark.parametrize("names", [("fine_segm", "u", "v"), ("embedding",)])
def test_no_body_at_all(names: tuple[str, ...]) -> None:
    outputs = rows(**{name: noise(25) for name in names}, vertex_embeddings=np.zeros((0, 25), np.float32))
    outputs["coarse_segm"][:, 0] = 99
    found = to_instances(outputs, input_size=INPUT, image_size=IMAGE).pred_densepose
    assert found is not None and not any(result.surface.any() for result in found)
    none = {name: array if name == "vertex_embeddings" else array[:0] for name, array in outputs.items()}
    assert to_instances(none, input_size=INPUT, image_size=IMAGE).pred_densepose == ()
