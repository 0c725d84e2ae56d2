"""model.svg: which boxes, what stands in them, and that nothing lies on anything else."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from d2deploy.backends.caffe2.drawing import amount, draw, label, title_of, words
from d2deploy.backends.caffe2.messages import add_op, new_net

TITLES = {
    "prepare": "prepare",
    "backbone.bottom_up.res4.2.conv1": "backbone.bottom_up.res4",
    "backbone.bottom_up.stem.conv1": "backbone.bottom_up.stem",
    "backbone.res4.0.shortcut": "backbone.res4",
    "backbone.fpn_lateral3": "backbone, pyramid",
    "proposal_generator": "proposal_generator",
    "proposal_generator.rpn_head.conv": "proposal_generator.rpn_head",
    "roi_heads.box_head.1.fc1": "roi_heads.box_head",
    "roi_heads.select": "roi_heads",
    "sem_seg_head.p3.0": "sem_seg_head",
    "head.cls_subnet": "head.cls_subnet",
    "head.cls_subnet.2": "head.cls_subnet",
}


@pytest.mark.parametrize("path", TITLES)
def test_parts(path):
    assert title_of(path) == TITLES[path]


SIZES = {
    ("s34", "3", "32*u0", "32*u1"): "N x 3 x H x W",
    ("s34", "64", "4*u0", "4*u1"): "N x 64 x H/8 x W/8",
    ("s34", "64", "u0", "u1"): "N x 64 x H/32 x W/32",
    ("s34", "64", "(((u0 - 1)//2)) + 1", "(((u1 - 1)//4)) + 1"): "N x 64 x H/64 x W/128",
    ("s34", "64", "s14", "(((s15 - 1)//16)) + 1"): "N x 64 x H x W/16",
    ("u3", "4"): "rows x 4",
    ("s34", "8", "u0 + 7", "4"): "N x 8 x ... x 4",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_sizes_in_words(sizes):
    assert words(sizes, 32) == SIZES[sizes]


def test_labels():
    shapes = {f"p{i}": f"N x 64 x H/{2**i} x W/{2**i}" for i in (2, 3, 4, 10)} | {"d": "rows x 4", "l": "rows x 9"}
    assert label({"p10", "p2", "p3"}, shapes) == "N x 64 x H/4 x W/4 to H/1024 x W/1024"
    assert label({"d", "l", "p4"}, shapes) == "N x 64 x H/16 x W/16, rows x 4 ..."
    assert label({"a", "b"}, {"a": "1 x 8 x 12 x 9", "b": "1 x 8 x 100 x 9"}) == "1 x 8 x 100 x 9 to 12 x 9"
    assert label({"unknown"}, shapes) == ""


def test_amounts():
    assert [amount(number) for number in (0, 999, 12345, 23_500_000)] == ["0", "999", "12.3 k", "23.5 M"]


def boxes(text: str) -> list[tuple[float, float, float, float]]:
    """x1, y1, x2, y2 of the boxes of a picture."""
    found = [e.attrib for e in ElementTree.fromstring(text).iter() if e.tag.endswith("rect") and "x" in e.attrib]
    sides = [[float(a[name]) for name in ("x", "y", "width", "height")] for a in found]
    return [(x, y, x + width, y + height) for x, y, width, height in sides]


def test_the_demo_s_picture(artifact):
    text = (artifact.path / "model.svg").read_text()
    root = ElementTree.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    drawn = boxes(text)
    assert len(drawn) == 22
    assert all(0 < x1 < x2 < width and 0 < y1 < y2 < height for x1, y1, x2, y2 in drawn)
    for a, b in combinations(drawn, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], "no box lies on another"
    texts = Counter(e.text for e in root.iter() if e.tag.endswith("text"))
    assert all(texts[f"backbone.bottom_up.{stage}"] == 1 for stage in ("stem", "res2", "res3", "res4", "res5"))
    assert texts["N x 64 x H/4 x W/4 to H/64 x W/64"] and texts["rows x 8 x 28 x 28"]
    assert texts["N x 3: height, width, scale"]
    assert any(text and text.startswith("5 GenerateProposals") for text in texts)
    for path in re.findall(r'd="M[\d.]+ ([\d.]+) C.* ([\d.]+)"', text):
        assert float(path[0]) < float(path[1]), "arrows go down"


def test_long_lines_go_beside_the_boxes(artifact):
    """Vertical parts of arrows over several rows: none through a box, none on another's."""
    text = (artifact.path / "model.svg").read_text()
    lanes = [tuple(map(float, lane)) for lane in re.findall(r"M[\d.]+ ([\d.]+) H([\d.]+) V([\d.]+) H", text)]
    assert len(lanes) == 6
    for top, x, bottom in lanes:
        assert not [box for box in boxes(text) if box[0] < x < box[2] and box[1] < bottom and box[3] > top]
    for (top, x, bottom), (other_top, other_x, other_bottom) in combinations(lanes, 2):
        assert x != other_x or bottom < other_top or other_bottom < top


def test_a_part_that_would_wait_for_itself_is_drawn_twice():
    net, init = new_net("n"), new_net("")
    for number, part in enumerate(("a", "b", "a", "c")):
        add_op(net, "Relu", inputs=[f"x{number}"], outputs=[f"x{number + 1}"], args={}).name = part
    net.external_input.extend(["x0"])
    net.external_output.extend(["x4"])
    root = ElementTree.fromstring(draw(net, init, {"x0": "2 < 3"}))
    texts: Any = Counter(e.text for e in root.iter() if e.tag.endswith("text"))
    assert texts == {"n: 4 operators, 0 weights": 1, "2 < 3": 3, "a": 2, "b": 1, "c": 1, "x0": 1, "x4": 1, "Relu": 4}
