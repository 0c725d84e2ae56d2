"""What verify found: a row an image, the verdict, and both as a table and as JSON."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

from tabulate import tabulate

from d2deploy.errors import Mismatch

_SHOWN = 3  # reasons in an error's one line
_COUNTS = ("source", "export", "pairs", "unmatched", "excused")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """The largest difference that counts as none. The defaults are for float32 on both sides."""

    boxes_px: float = 0.05  # any box coordinate, or that of a rotated box's corner, pixels of the original image
    scores: float = 2e-4
    mask_iou: float = 0.99  # at least
    keypoints_px: float = 0.1  # either coordinate, pixels of the original image
    threshold_margin: float = 1e-3  # how near a cut-off a score must be for its detection to be absent on one side
    pixels: float = 1e-3  # share of an image's pixels with another class or segment
    objectness: float = 5e-3  # logits of proposals
    surface: float = 1e-2  # share of a body's pixels that are on another part or vertex of it
    uv: float = 1e-2  # either coordinate on a part, where both have the same part
    lost_proposals: float = 5e-3  # share of an image's proposals without partner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The comparison of one image. None: there was nothing to measure.

    Counted are detections, proposals, segments, or the classes that were seen, as the model is.
    """

    image: str
    size: tuple[int, int]  # height, width
    source: int  # how many the network found
    export: int  # how many the export found
    pairs: int
    boxes_px: float | None = None
    scores: float | None = None
    mask_iou: float | None = None
    unmatched: int  # without partner and without excuse
    excused: int  # without partner, within the margin of a cut-off
    faults: tuple[str, ...]  # what is over the budget, in words
    keypoints_px: float | None = None
    pixels: float | None = None
    objectness: float | None = None
    surface: float | None = None
    uv: float | None = None
    is_tie: bool = False  # equal only to the source's result for the same image with noise of float32's size

    @property
    def ok(self) -> bool:
        """Within the budget."""
        return not self.faults


class _Column(NamedTuple):
    """A difference in the table; it is left out where nothing of its kind was measured."""

    title: str
    form: str
    worst: Callable[[Iterable[float]], float] = max


_DIFFERENCES = {
    "boxes_px": _Column("box px", ".5f"),
    "scores": _Column("score", ".1e"),
    "objectness": _Column("objectness", ".1e"),
    "mask_iou": _Column("mask IoU", ".4f", min),
    "keypoints_px": _Column("keypoint px", ".5f"),
    "pixels": _Column("pixels", ".3%"),
    "surface": _Column("surface", ".3%"),
    "uv": _Column("uv", ".1e"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What verify found. `str(report)` is the table that the command line prints."""

    source: str  # format of the reference, "eager" for the network
    export: str  # format of what was verified
    budget: Budget
    rows: tuple[Row, ...]
    faults: tuple[str, ...]  # what is wrong beyond single images
    versions: dict[str, str]

    @property
    def ok(self) -> bool:
        """Every image within the budget, and something compared at all."""
        return not self.faults and all(row.ok for row in self.rows)

    @property
    def reasons(self) -> list[str]:
        """Every fault, in words; empty when ok."""
        return [*self.faults, *(f"{row.image}: {fault}" for row in self.rows for fault in row.faults)]

    def raise_if_bad(self) -> None:
        """Raises Mismatch, with the first few reasons, unless ok."""
        if not self.ok:
            more = f"; and {len(self.reasons) - _SHOWN} more" if len(self.reasons) > _SHOWN else ""
            shown = "; ".join(self.reasons[:_SHOWN])
            mismatch = Mismatch(f"{self.export} is not proved equal to {self.source}: {shown}{more}")
            mismatch.report = self
            raise mismatch

    def to_dict(self) -> dict[str, Any]:
        """For the manifest and other JSON: numbers that are not finite become null."""
        fields = dataclasses.asdict(self)
        rows = [{**fields, "ok": row.ok} for fields, row in zip(fields.pop("rows"), self.rows, strict=True)]
        result: dict[str, Any] = _plain({"ok": self.ok, "reasons": self.reasons, **fields, "rows": rows})
        return result

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The report that `to_dict` gave, as it stands in a manifest, also in one of an earlier schema."""
        rows = [{key: value for key, value in row.items() if key != "ok"} for row in fields["rows"]]
        rows = [{**row, "size": tuple(row["size"]), "faults": tuple(row["faults"])} for row in rows]
        return cls(
            source=fields["source"],
            export=fields["export"],
            budget=Budget(**fields["budget"]),
            rows=tuple(Row(**row) for row in rows),
            faults=tuple(fields["faults"]),
            versions=fields["versions"],
        )

    def __str__(self) -> str:
        total = self.total
        measured = [name for name in _DIFFERENCES if getattr(total, name) is not None]
        titles = [_DIFFERENCES[name].title for name in measured]
        header = ("image", "size", "source", "export", *titles, "unmatched", "")
        lines = [_line(row, measured) for row in (*self.rows, total)]
        align = ("left", *["right"] * (len(header) - 2), "left")
        table = tabulate(lines, header, disable_numparse=True, colalign=align)
        verdict = "the same" if self.ok else "DIFFERENT\n" + "\n".join(f"  - {reason}" for reason in self.reasons)
        return f"{table}\n\n{self.export} against {self.source}: {verdict}"

    @property
    def total(self) -> Row:
        """All images as one: sums of counts, worst of differences."""
        differences: dict[str, Any] = {
            name: column.worst(given)
            if (given := [x for row in self.rows if (x := getattr(row, name)) is not None])
            else None
            for name, column in _DIFFERENCES.items()
        }
        return Row(
            image=f"{len(self.rows)} images",
            size=(0, 0),
            **{key: sum(getattr(row, key) for row in self.rows) for key in _COUNTS},
            **differences,
            faults=tuple(self.reasons),
        )


def _line(row: Row, measured: list[str]) -> tuple[str, ...]:
    size = f"{row.size[1]}x{row.size[0]}" if any(row.size) else ""
    unmatched = str(row.unmatched) + (f" (+{row.excused} at a cut-off)" if row.excused else "")
    return (
        row.image,
        size,
        str(row.source),
        str(row.export),
        *(_number(getattr(row, name), _DIFFERENCES[name].form) for name in measured),
        unmatched,
        "FAIL" if not row.ok else "tie" if row.is_tie else "ok",
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else "0" if value == 0 else format(value, form)


def _plain(value: Any) -> Any:
    """`value` with tuples as lists and without NaN or infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
