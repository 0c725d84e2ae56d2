"""Addresses as detectron2's configs have them, and where they lead."""

import os
import re
from urllib.parse import urljoin, urlsplit

from d2deploy.errors import WeightsError

ZOO_URL = "https://dl.fbaipublicfiles.com/detectron2/"

# Names under catalog:// -> paths beside the zoo's folder. Facts: detectron2 checkpoint/catalog.py at 02b5c4e2.
_BACKBONES = {
    "ImageNetPretrained/MSRA/R-50": "ImageNetPretrained/MSRA/R-50.pkl",
    "ImageNetPretrained/MSRA/R-101": "ImageNetPretrained/MSRA/R-101.pkl",
    "ImageNetPretrained/FAIR/R-50-GN": "ImageNetPretrained/47261647/R-50-GN.pkl",
    "ImageNetPretrained/FAIR/R-101-GN": "ImageNetPretrained/47592356/R-101-GN.pkl",
    "ImageNetPretrained/FAIR/X-101-32x8d": "ImageNetPretrained/20171220/X-101-32x8d.pkl",
    "ImageNetPretrained/FAIR/X-101-64x4d": "ImageNetPretrained/FBResNeXt/X-101-64x4d.pkl",
    "ImageNetPretrained/FAIR/X-152-32x8d-IN5k": "ImageNetPretrained/25093814/X-152-32x8d-IN5k.pkl",
}
_RUNS = {  # Detectron's own models: name -> the folder of the training that made it
    "35857197/e2e_faster_rcnn_R-50-C4_1x": "12_2017_baselines/e2e_faster_rcnn_R-50-C4_1x.yaml.01_33_49.iAX0mXvW",
    "35857345/e2e_faster_rcnn_R-50-FPN_1x": "12_2017_baselines/e2e_faster_rcnn_R-50-FPN_1x.yaml.01_36_30.cUF7QR7I",
    "35857890/e2e_faster_rcnn_R-101-FPN_1x": "12_2017_baselines/e2e_faster_rcnn_R-101-FPN_1x.yaml.01_38_50.sNxI7sX7",
    "36761737/e2e_faster_rcnn_X-101-32x8d-FPN_1x": (
        "12_2017_baselines/e2e_faster_rcnn_X-101-32x8d-FPN_1x.yaml.06_31_39.5MIHi1fZ"
    ),
    "35858791/e2e_mask_rcnn_R-50-C4_1x": "12_2017_baselines/e2e_mask_rcnn_R-50-C4_1x.yaml.01_45_57.ZgkA7hPB",
    "35858933/e2e_mask_rcnn_R-50-FPN_1x": "12_2017_baselines/e2e_mask_rcnn_R-50-FPN_1x.yaml.01_48_14.DzEQe4wC",
    "35861795/e2e_mask_rcnn_R-101-FPN_1x": "12_2017_baselines/e2e_mask_rcnn_R-101-FPN_1x.yaml.02_31_37.KqyEK4tT",
    "36761843/e2e_mask_rcnn_X-101-32x8d-FPN_1x": (
        "12_2017_baselines/e2e_mask_rcnn_X-101-32x8d-FPN_1x.yaml.06_35_59.RZotkLKI"
    ),
    "48616381/e2e_mask_rcnn_R-50-FPN_2x_gn": (
        "04_2018_gn_baselines/e2e_mask_rcnn_R-50-FPN_2x_gn_0416.13_23_38.bTlTI97Q"
    ),
    "37697547/e2e_keypoint_rcnn_R-50-FPN_1x": (
        "12_2017_baselines/e2e_keypoint_rcnn_R-50-FPN_1x.yaml.08_42_54.kdzV35ao"
    ),
    "35998355/rpn_R-50-C4_1x": "12_2017_baselines/rpn_R-50-C4_1x.yaml.08_00_43.njH5oD9L",
    "35998814/rpn_R-50-FPN_1x": "12_2017_baselines/rpn_R-50-FPN_1x.yaml.08_06_03.Axg0r179",
    "36225147/fast_R-50-FPN_1x": "12_2017_baselines/fast_rcnn_R-50-FPN_1x.yaml.08_39_09.L3obSdQ2",
}


def is_address(text: str) -> bool:
    """Whether `text` names something to fetch, scheme://..., not a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def resolve(url: str) -> str:
    """The http or https address of `url`. D2DEPLOY_ZOO_URL in the environment stands for detectron2's public host.

    Raises WeightsError for another scheme, and for a name that the catalog does not have.
    """
    scheme, _, rest = url.partition("://")
    zoo = os.environ.get("D2DEPLOY_ZOO_URL") or ZOO_URL
    zoo = zoo if zoo.endswith("/") else f"{zoo}/"
    if scheme == "detectron2":
        url = zoo + rest.lstrip("/")
    elif scheme == "catalog":
        url = urljoin(zoo, f"../detectron/{_catalogued(rest)}")
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_right = False
    if not is_right or not url.isprintable() or " " in url:
        raise WeightsError(f"{url!a} cannot be fetched. Give an http, https, detectron2 or catalog address.")
    return url


def _catalogued(name: str) -> str:
    if name in _BACKBONES:
        return _BACKBONES[name]
    run = name.removeprefix("Caffe2Detectron/COCO/")
    if run == name or run not in _RUNS:
        known = [*_BACKBONES, *(f"Caffe2Detectron/COCO/{run}" for run in _RUNS)]
        raise WeightsError(f"detectron2's catalog has no {name!a}. It has: {', '.join(known)}.")
    number, _, model = run.partition("/")
    folder = f"GN/{number}" if model.endswith("_gn") else number
    kind = "rpn" if run == "35998355/rpn_R-50-C4_1x" else "generalized_rcnn"
    prefix = "keypoints_coco" if "keypoint" in model else "coco"
    data = f"{prefix}_2014_train%3A{prefix}_2014_valminusminival"
    return f"{folder}/{_RUNS[run]}/output/train/{data}/{kind}/model_final.pkl"
