"""Where addresses lead."""

import pytest

from d2deploy.errors import WeightsError
from d2deploy.weights import catalog
from d2deploy.weights.catalog import is_address, resolve


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("detectron2://a/b.pkl", "https://dl.fbaipublicfiles.com/detectron2/a/b.pkl"),
        (
            "catalog://ImageNetPretrained/FAIR/R-50-GN",
            "https://dl.fbaipublicfiles.com/detectron/ImageNetPretrained/47261647/R-50-GN.pkl",
        ),
        (
            "catalog://Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x",
            "https://dl.fbaipublicfiles.com/detectron/35858933/12_2017_baselines/"
            "e2e_mask_rcnn_R-50-FPN_1x.yaml.01_48_14.DzEQe4wC/output/train/"
            "coco_2014_train%3Acoco_2014_valminusminival/generalized_rcnn/model_final.pkl",
        ),
        ("https://host/x.pkl?a=1", "https://host/x.pkl?a=1"),
    ],
)
def test_resolve(name, address, monkeypatch):
    monkeypatch.delenv("D2DEPLOY_ZOO_URL", raising=False)
    assert resolve(name) == address


def test_the_catalog_says_what_it_has():
    with pytest.raises(WeightsError, match=r"no 'ImageNetPretrained/MSRA/R-51'.*ImageNetPretrained/MSRA/R-50"):
        resolve("catalog://ImageNetPretrained/MSRA/R-51")


def test_every_name_of_the_catalog_resolves():
    names = [*catalog._BACKBONES, *(f"Caffe2Detectron/COCO/{run}" for run in catalog._RUNS)]
    addresses = {resolve(f"catalog://{name}") for name in names}
    assert len(addresses) == len(names) == 20
    assert all(address.endswith(".pkl") for address in addresses)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("detectron2://x", True), ("HTTP://x", True), ("model.pth", False), ("C:\\a.pth", False), ("a/b://c", False)],
)
def test_is_address(text, expected):
    assert is_address(text) is expected


@pytest.mark.parametrize("mirror", ["http://mirror:8000/d2", "http://mirror:8000/d2/"])
def test_a_mirror_of_the_public_host(mirror, monkeypatch):
    monkeypatch.setenv("D2DEPLOY_ZOO_URL", mirror)
    assert resolve("detectron2://a/b.pkl") == "http://mirror:8000/d2/a/b.pkl"
    backbone = resolve("catalog://ImageNetPretrained/MSRA/R-50")
    assert backbone == "http://mirror:8000/detectron/ImageNetPretrained/MSRA/R-50.pkl"
    assert resolve("https://host/x.pkl") == "https://host/x.pkl"


def test_a_mirror_that_is_no_host(monkeypatch):
    monkeypatch.setenv("D2DEPLOY_ZOO_URL", "/my/folder")
    with pytest.raises(WeightsError, match=r"/my/folder/a/b\.pkl' cannot be fetched"):
        resolve("detectron2://a/b.pkl")
