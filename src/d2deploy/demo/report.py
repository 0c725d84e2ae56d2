"""The demo's page: one HTML file that needs nothing else."""

import base64
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from d2deploy.workflows.verify import Report, Row

MARK = "<!-- d2deploy demo -->"
"""Stands in the page's first lines; tells a former demo's folder from any other."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Time from image to Instances, one image at a time, after warm-up."""

    milliseconds: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The middle run."""
        return statistics.median(self.milliseconds)

    @property
    def p90_ms(self) -> float:
        """Nine runs of ten take no longer."""
        return statistics.quantiles(self.milliseconds, n=10, method="inclusive")[-1]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn image (JPEG) and how many detections the model found on it."""

    jpeg: bytes
    found: int


@dataclass(frozen=True, kw_only=True)
class Column:
    """One model of the page: the network itself (`report` None) or an export of it."""

    title: str
    pictures: tuple[Picture, ...]  # one an image
    timing: Timing
    load_seconds: float
    export_seconds: float | None = None
    megabytes: float | None = None
    report: Report | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that the page says."""

    images: tuple[str, ...]
    columns: tuple[Column, ...]  # the network first
    num_classes: int
    min_score: float
    timing_note: str
    commands: str
    versions: dict[str, str]

    def to_html(self) -> str:
        """The page. Every value is escaped."""
        exports = [(column, column.report) for column in self.columns if column.report]
        budget = exports[0][1].budget
        return Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8")).substitute(
            count=len(exports),
            verdict="the same detections" if all(report.ok for _, report in exports) else "NOT the same detections",
            classes=self.num_classes,
            cards="\n".join(_card(column, report) for column, report in exports),
            min_score=self.min_score,
            picture_heads=_cells("th", (column.title for column in self.columns)),
            picture_rows="\n".join(self._picture_row(index) for index in range(len(self.images))),
            boxes_px=f"{budget.boxes_px:g}",
            scores=f"{budget.scores:g}",
            mask_iou=f"{budget.mask_iou:g}",
            verifications="\n".join(_verification(column.title, report) for column, report in exports),
            timing_note=escape(self.timing_note),
            timings="\n".join(_timing(column, self.columns[0].timing) for column in self.columns),
            commands=escape(self.commands),
            versions=escape(", ".join(f"{name} {version}" for name, version in self.versions.items())),
        )

    def _picture_row(self, index: int) -> str:
        return f"<tr>{''.join(self._picture(column, index) for column in self.columns)}</tr>"

    def _picture(self, column: Column, index: int) -> str:
        picture, image = column.pictures[index], self.images[index]
        source = f"data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}"
        caption = f"{picture.found} detections" + _difference(column.report, image)
        alt = f"{image} as {column.title} sees it"
        return (
            f'<td><figure><img src="{source}" alt="{escape(alt)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure></td>"
        )


def _difference(report: Report | None, image: str) -> str:
    row = next((row for row in report.rows if row.image == image), None) if report else None
    if row is None or row.boxes_px is None:
        return ""
    return f", boxes within {row.boxes_px:.1g} px" if row.boxes_px else ", identical boxes"


def _card(column: Column, report: Report) -> str:
    total = report.total
    facts = {
        "Detections compared": str(total.pairs),
        "Without partner": str(total.unmatched),
        "Largest box difference": _number(total.boxes_px, ".5f", " px"),
        "Largest score difference": _number(total.scores, ".1e"),
        "Smallest mask IoU": _number(total.mask_iou, ".4f"),
        "File": _number(column.megabytes, ".1f", " MB"),
        "Median time an image": f"{column.timing.median_ms:.0f} ms",
    }
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f'<section class="card"><h3>{escape(column.title)}{_pill(report.ok)}</h3><dl>{lines}</dl></section>'


def _verification(title: str, report: Report) -> str:
    heads = ("image", "size", "network", "export", "box px", "score", "mask IoU", "without partner", "")
    body = "".join(_verification_row(row) for row in report.rows)
    reasons = "".join(f"<p>{escape(reason)}</p>" for reason in report.reasons)
    return (
        f'<h3>{escape(title)}</h3>{reasons}<div class="scroll"><table><thead><tr>{_cells("th", heads)}</tr></thead>'
        f"<tbody>{body}</tbody><tfoot>{_verification_row(report.total)}</tfoot></table></div>"
    )


def _verification_row(row: Row) -> str:
    values = (
        row.image,
        f"{row.size[1]} x {row.size[0]}" if any(row.size) else "",
        row.source,
        row.export,
        _number(row.boxes_px, ".5f"),
        _number(row.scores, ".1e"),
        _number(row.mask_iou, ".4f"),
        f"{row.unmatched}" + (f" (+{row.excused} at a cut-off)" if row.excused else ""),
    )
    return f"<tr>{_cells('td', values)}<td>{_pill(row.ok)}</td></tr>"


def _timing(column: Column, network: Timing) -> str:
    values = (
        column.title,
        _number(column.export_seconds, ".1f", " s"),
        _number(column.megabytes, ".1f", " MB"),
        _number(column.load_seconds, ".2f", " s"),
        f"{column.timing.median_ms:.1f} ms",
        f"{column.timing.p90_ms:.1f} ms",
        f"{column.timing.median_ms / network.median_ms:.2f}",
    )
    return f"<tr>{_cells('td', values)}</tr>"


def _cells(tag: str, values: Iterable[object] | Sequence[object]) -> str:
    return "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else ("0" if value == 0 else format(value, form)) + unit


def _pill(ok: bool) -> str:
    return '<span class="pill ok">the same</span>' if ok else '<span class="pill bad">different</span>'
