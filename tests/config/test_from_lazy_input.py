"""How images are resized and normalised: what the data loader says, and what overrides it."""

import pytest

from d2deploy.config.from_lazy.model import lazy_model_config
from d2deploy.config.lazy.read import read_carried
from d2deploy.errors import ConfigError

WHOLE, MODEL = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py", "common/models/mask_rcnn_fpn.py"
MAPPER = "dataloader.test.mapper"
RESIZE = f"{MAPPER}.augmentations.0"
TARGET = "detectron2.data.transforms"


def read_input(*overrides, name=WHOLE, **sizes):
    return lazy_model_config(read_carried(name, overrides), **sizes).input


def sizes_of(*overrides, **sizes):
    found = read_input(*overrides, **sizes)
    return found.min_size, found.max_size


def test_the_loader_says_it():
    assert sizes_of() == (800, 1333)
    assert sizes_of(f"{RESIZE}.short_edge_length=[600]", f"{RESIZE}.sample_style=choice") == (600, 1333)
    assert sizes_of(f"{RESIZE}.interp=2") == (800, 1333)
    assert sizes_of(f"~{RESIZE}.max_size") == (800, 2**31 - 1)
    assert sizes_of(f"{MAPPER}.augmentations=[]")[0] == 0


def test_the_caller_goes_over_it():
    assert sizes_of(min_size=300) == (300, 1333)
    assert sizes_of(max_size=900) == (800, 900)
    assert sizes_of(min_size=0) == (0, 1333)
    found = read_input(name=MODEL, min_size=300, max_size=400)
    assert (found.min_size, found.max_size) == (300, 400)
    assert read_input(name=MODEL, min_size=0).min_size == 0


UNSAID = {
    f"{MAPPER}.augmentations=[{{_target_: {TARGET}.Resize, shape: [64, 64]}}]": "is not one ResizeShortestEdge",
    f"{MAPPER}.augmentations=[{{_target_: {TARGET}.ResizeShortestEdge, short_edge_length: 1}}, 3]": "is not one",
    f"{RESIZE}.short_edge_length=[600,700]": "has no single short_edge_length",
    f"{RESIZE}.short_edge_length=[]": "has no single short_edge_length",
    f"{RESIZE}.short_edge_length=large": "has no single short_edge_length",
    f"{RESIZE}.short_edge_length=[[1]]": "has no single short_edge_length",
    f"~{MAPPER}.augmentations": "has no dataloader",
    "dataloader.test=3": "has no dataloader",
    "~dataloader": "has no dataloader",
}


@pytest.mark.parametrize("override", UNSAID)
def test_sizes_that_nobody_says_are_asked_for(override):
    with pytest.raises(ConfigError, match=rf"{UNSAID[override]}.*--min-size and --max-size"):
        sizes_of(override)
    with pytest.raises(ConfigError, match="--min-size and --max-size"):
        sizes_of(override, min_size=300)
    assert sizes_of(override, min_size=300, max_size=400) == (300, 400)


def test_wrong_values_are_refused():
    with pytest.raises(ConfigError, match="otherwise than bilinearly"):
        sizes_of(f"{RESIZE}.interp=3")
    with pytest.raises(ConfigError, match="max_size is 'x'"):
        sizes_of(f"{RESIZE}.max_size=x")


def test_the_channel_order():
    rgb = f"{MAPPER}.image_format=RGB"
    assert read_input().channel_order == "BGR"
    assert read_input("model.input_format=null", rgb).channel_order == "RGB"
    assert read_input("~model.input_format", rgb).channel_order == "RGB"
    assert read_input("model.input_format=RGB", rgb).channel_order == "RGB"
    assert read_input("model.input_format=RGB", "~dataloader", min_size=1, max_size=1).channel_order == "RGB"
    assert read_input("~model.input_format", "~dataloader", min_size=1, max_size=1).channel_order == "BGR"
    with pytest.raises(ConfigError, match="both must be BGR, or both RGB"):
        read_input(rgb)
    with pytest.raises(ConfigError, match="image_format is 'L'"):
        read_input("~model.input_format", f"{MAPPER}.image_format=L")


def test_data_set_and_weights():
    config = lazy_model_config(read_carried(WHOLE, ["dataloader.test.dataset.names=[a_val,b_val]"]))
    assert (config.dataset, config.weights) == ("a_val", "detectron2://ImageNetPretrained/MSRA/R-50.pkl")
    config = lazy_model_config(read_carried(WHOLE, ["~train", "dataloader.test.dataset=3"]))
    assert (config.dataset, config.weights) == ("", "")
