"""From DensePose's outputs to places on a body's surface, for the pixels of each detection's box."""

from collections.abc import Iterator, Sequence

import numpy as np

from d2deploy.artifact import MeshSpec
from d2deploy.postprocess.frame import Outputs
from d2deploy.results import DensePose, DensePoseChart, DensePoseVertices
from d2deploy.results.resize import resize, resize_at

CONFIDENCES = ("sigma_2", "kappa_u", "kappa_v", "fine_segm_confidence", "coarse_segm_confidence")
_BLOCK = 2**23  # distances that are worked on at a time: 32 MB


def to_dense_pose(
    outputs: Outputs, rows: np.ndarray, boxes: np.ndarray, meshes: Sequence[MeshSpec]
) -> tuple[DensePose, ...] | None:
    """One for each of `rows`, whose boxes on the original image are `boxes` [R,4]; None: the model has no such head.

    outputs: coarse_segm[D,K,T,T] and either fine_segm, u, v [D,P,T,T] and perhaps confidences, or embedding[D,E,T,T]
    and vertex_embeddings[V,E], those of all `meshes` one after the other. Boxes start at whole pixels, and everything
    is interpolated to their size (detectron2 DensePose, converters/chart_output_to_chart_result.py, cse/utils.py).
    """
    if "fine_segm" in outputs:
        return tuple(_chart(outputs, row, box) for row, box in zip(rows.tolist(), boxes, strict=True))
    if "embedding" in outputs:
        classes = outputs["classes"][rows].tolist()
        known = dict(_vertices_of_class(outputs, meshes))
        return tuple(
            _vertices(outputs, row, box, known.get(class_id))
            for row, box, class_id in zip(rows.tolist(), boxes, classes, strict=True)
        )
    return None


def _chart(outputs: Outputs, row: int, box: np.ndarray) -> DensePoseChart:
    x, y, size = _whole_box(box)
    labels = resize(outputs["fine_segm"][row], size).argmax(axis=0)
    labels[~_is_body(outputs, row, size)] = 0
    names = [name for name in ("u", "v", *CONFIDENCES) if name in outputs]
    u, v, *confidences = (_at(outputs[name][row], labels) for name in names)
    return DensePoseChart(
        x=x,
        y=y,
        labels=labels.astype(np.uint8),
        uv=np.stack((u, v)),
        confidences=dict(zip(names[2:], confidences, strict=True)),
    )


def _at(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each pixel the map of its part, 0 where it has none; a single map is everybody's."""
    if len(maps) == 1:
        return resize(maps, labels.shape)[0]
    return np.where(labels > 0, resize_at(maps, labels), np.float32(0))


def _vertices(outputs: Outputs, row: int, box: np.ndarray, mesh: tuple[str, np.ndarray] | None) -> DensePoseVertices:
    x, y, size = _whole_box(box)
    is_body = _is_body(outputs, row, size)
    vertices = np.full(size, -1, dtype=np.int32)
    if mesh is None:
        vertices[is_body] = 0
    else:
        vertices[is_body] = _nearest(resize(outputs["embedding"][row], size)[:, is_body].T, mesh[1])
    return DensePoseVertices(x=x, y=y, vertices=vertices, mesh=mesh[0] if mesh else "")


def _nearest(places: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """The row of vertices[V,E] that each of places[P,E] is nearest to: int64 [P]."""
    found = np.empty(len(places), dtype=np.int64)
    lengths = np.square(vertices).sum(axis=1)
    count = max(1, _BLOCK // len(vertices))
    for first in range(0, len(places), count):
        block = slice(first, first + count)
        found[block] = (lengths - 2 * (places[block] @ vertices.T)).argmin(axis=1)
    return found


def _vertices_of_class(outputs: Outputs, meshes: Sequence[MeshSpec]) -> Iterator[tuple[int, tuple[str, np.ndarray]]]:
    """(class id, (name of its mesh, embeddings of that mesh's vertices))."""
    first = 0
    for mesh in meshes:
        embeddings = outputs["vertex_embeddings"][first : first + mesh.num_vertices]
        first += mesh.num_vertices
        yield from ((class_id, (mesh.name, embeddings)) for class_id in mesh.classes)


def _is_body(outputs: Outputs, row: int, size: tuple[int, int]) -> np.ndarray:
    """[h,w] bool: the highest of the coarse segmentation is not its first, the background."""
    is_body: np.ndarray = resize(outputs["coarse_segm"][row], size).argmax(axis=0) > 0
    return is_body


def _whole_box(box: np.ndarray) -> tuple[int, int, tuple[int, int]]:
    """Left, top and (height, width) in whole pixels, cut off as detectron2 does (converters/base.py)."""
    x1, y1, x2, y2 = box
    return int(x1), int(y1), (max(int(y2 - y1), 1), max(int(x2 - x1), 1))
