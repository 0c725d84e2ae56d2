"""The demo's page: whole, self-contained, escaped, and never claiming more than was found."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from d2deploy.demo.report import MARK, Column, Page, Picture, Timing
from d2deploy.workflows.verify import Budget, Report, Row

JPEG = b"\xff\xd8 a picture \xff\xd9"
ROW = Row(
    image="a.jpg",
    size=(30, 40),
    source=2,
    export=2,
    pairs=2,
    boxes_px=0.00125,
    scores=0.0,
    mask_iou=1.0,
    unmatched=0,
    excused=0,
    faults=(),
)
REPORT = Report(source="eager", export="onnx", budget=Budget(), rows=(ROW,), faults=(), versions={})
TIMING = Timing(milliseconds=tuple(map(float, range(1, 12))))
NETWORK = Column(title="Network", pictures=(Picture(jpeg=JPEG, found=2),), timing=TIMING, load_seconds=0.5)
EXPORT = dataclasses.replace(NETWORK, title="ONNX", export_seconds=3.0, megabytes=9.0, report=REPORT)


def page(*columns: Column, **changes: object) -> str:
    fields: dict = {
        "images": ("a.jpg",),
        "columns": columns,
        "num_classes": 8,
        "min_score": 0.5,
        "timing_note": "11 runs",
        "commands": "d2deploy export",
        "versions": {"torch": "2.0"},
    }
    return Page(**{**fields, **changes}).to_html()


class Tags(HTMLParser):
    """Which tags are open, and every address that the page would load."""

    VOID = ("meta", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else():
    text = page(NETWORK, EXPORT)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "$" not in text
    assert tags.addresses == ["data:image/jpeg;base64," + base64.b64encode(JPEG).decode()] * 2
    assert not {"script", "link", "iframe"} & set(tags.seen)
    assert "url(" not in text


def test_the_page_says_what_was_found():
    text = page(NETWORK, EXPORT)
    assert text.index(MARK) < 200
    assert "1 exports, the same detections" in text
    assert "0.00125 px" in text
    assert "2 detections, boxes within 0.001 px" in text
    assert ">6.0 ms<" in text
    assert ">10.0 ms<" in text
    assert 'class="pill bad"' not in text


def test_a_difference_is_not_hidden():
    bad = dataclasses.replace(REPORT, rows=(dataclasses.replace(ROW, unmatched=1, faults=("1 lost & gone",)),))
    text = page(NETWORK, dataclasses.replace(EXPORT, report=bad))
    assert "NOT the same detections" in text
    assert "a.jpg: 1 lost &amp; gone" in text
    assert len(re.findall('class="pill bad"', text)) == 3
    assert 'class="pill ok"' not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": {"<script>": "1"}},
        {"commands": "<script>"},
        {"timing_note": "<script>"},
        {"images": ('"><script>',)},
        {"columns": (NETWORK, dataclasses.replace(EXPORT, title="<script>"))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_value_is_escaped(changes):
    text = page(NETWORK, EXPORT, **changes)
    assert "<script" not in text
    assert "&lt;script" in text
