"""The best cells of one feature level: their scores, what they say of a box, and their anchors."""

from typing import Any

import numpy as np

from d2deploy.backends.caffe2.place import Blob, Place

# Which of an anchor's numbers move with its cell's column, and which with its row: two corners, or a center.
_MOVES = {4: ([1, 0, 1, 0], [0, 1, 0, 1]), 5: ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0])}


class Level:
    """One level's `topk` candidates of each image. Names of its blobs end in its number."""

    def __init__(self, place: Place, number: int, topk: int) -> None:
        self.place, self.number, self.topk = place, number, topk

    def emit(self, type: str, *inputs: Any, part: str, **args: Any) -> str:
        """As Place's."""
        return self.place.emit(type, *inputs, part=f"{part}{self.number}", **args)

    def whole(self, value: int, part: str) -> str:
        """A blob of one whole number."""
        return self.place.constant([value], part, "int64")

    def best(self, scores: Blob) -> tuple[str, str]:
        """scores[N,C,H,W] -> the best [N,k] and where each lies, counting cell by cell, channels innermost.

        Where there are fewer than k: score 0 at -1.
        """
        last = self.emit("Transpose", scores, part="cells", axes=[0, 2, 3, 1])
        outputs = [self.place.part(f"scores{self.number}"), self.place.part(f"top{self.number}")]
        found = self.place.emit_many(
            "TopK", self.emit("Flatten", last, part="flat", axis=1), outputs=outputs, k=self.topk
        )
        return found[0], found[1]

    def divided(self, index: str, divisor: str, part: str) -> tuple[str, str]:
        """Quotient and remainder of whole numbers from 0 on."""
        quotient = self.emit("Div", index, divisor, part=part)
        whole = self.emit("Mul", quotient, divisor, part=f"{part}_before")
        return quotient, self.emit("Sub", index, whole, part=f"{part}_rest")

    def deltas(self, deltas: Blob, anchor: str, columns: int) -> str:
        """deltas[N,A*columns,H,W] of the chosen anchors [N,k] -> [N,k,columns]."""
        last = self.emit("Transpose", deltas, part="moves", axes=[0, 2, 3, 1])
        rows = self.place.reshape(last, [0, -1, columns], f"move{self.number}")
        index = self.emit("ExpandDims", anchor, part="column", dims=[2])
        indices = self.emit("Tile", index, part="columns", tiles=columns, axis=2)
        return self.emit("ATen", rows, indices, part="deltas", operator="gather", dim=1, sparse_grad=0)

    def anchors(self, cell: np.ndarray, anchor: str, width: str, stride: int) -> str:
        """The chosen anchors [N,k] -> [N,k,4 or 5], in pixels: a cell's own `cell`[A,4 or 5], and where the cell is.

        width: the map's, a blob of one whole number.
        """
        position, kind = self.divided(anchor, self.whole(len(cell), "per_cell"), "position")
        row, column = self.divided(position, width, "row")
        own = self.emit("Gather", self.place.constant(cell, f"anchors{self.number}"), kind, part="shape")
        across, down = (
            self.emit("Mul", self._numbers(at), self.place.constant(np.array(moves) * stride, "stride"), part="pixels")
            for at, moves in zip((column, row), _MOVES[cell.shape[1]])
        )
        return self.emit("Add", self.emit("Add", across, down, part="corner"), own, part="anchors")

    def _numbers(self, index: str) -> str:
        whole = self.emit("Cast", index, part="whole", to=1)
        return self.emit("ExpandDims", whole, part="at", dims=[2])


def columns_of(place: Place, blob: str, first: int, *, count: int, part: str) -> str:
    """`count` columns of a blob of three axes, from `first` on."""
    return place.emit("Slice", blob, part=part, starts=[0, 0, first], ends=[-1, -1, first + count])
