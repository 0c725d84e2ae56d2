import json
from pathlib import Path

import pytest
import yaml

from d2deploy.config.keys import is_training_only, names
from d2deploy.config.projects import defaults, known_projects, used_projects

GOLDEN = Path(__file__).parents[1] / "golden" / "detectron2" / "projects"
DUMPS = [path for path in sorted(GOLDEN.rglob("*/golden.json")) if '.yaml"' in path.read_text()[:1000]]

USED = [
    ({}, [], ()),
    ({"MODEL": {"ROI_MASK_HEAD": {"NAME": "MaskRCNNConvUpsampleHead", "NUM_CONV": 4}}}, [], ()),
    ({"MODEL": {"ROI_MASK_HEAD": {"FC_DIM": 256}}}, [], ("PointRend",)),
    ({"MODEL": {"POINT_HEAD": {}}}, [], ("PointRend",)),
    ({"MODEL": {"ROI_MASK_HEAD": {"NAME": "PointRendMaskHead"}}}, [], ("PointRend",)),
    ({}, ["MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"], ("PointRend",)),
    ({}, ["MODEL.POINT_HEAD.NUM_FC", 2], ("PointRend",)),
    ({"MODEL": {"ROI_MASK_HEAD": {"NAME": "ImplicitPointRendPointSupHead"}}}, [], ("PointRend", "PointSup")),
    ({"MODEL": {"TRIDENT": {"TEST_BRANCH_IDX": 1}}}, [], ("TridentNet",)),
    ({"MODEL": {"META_ARCHITECTURE": "TensorMask"}}, [], ("TensorMask",)),
    ({"MODEL": {"ROI_HEADS": {"NAME": "DensePoseROIHeads"}}}, [], ("DensePose",)),
    ({"DATASETS": {"CLASS_TO_MESH_NAME_MAPPING": {"0": "a"}}}, [], ("DensePose",)),
    ({}, ["MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBED_SIZE", 8], ("DensePose",)),
    ({}, ["MODEL.BACKBONE.NAME", "build_trident_resnet_backbone"], ("TridentNet",)),
    ({"MODEL": {"BACKBONE": {"NAME": "build_hrfpn_backbone"}}}, [], ("HRNet",)),
    ({"INPUT": {"COLOR_AUG_SSD": True, "CROP": {"SINGLE_CATEGORY_MAX_AREA": 0.75}}}, [], ()),
]


@pytest.mark.parametrize(("tree", "overrides", "projects"), USED)
def test_used_projects(tree, overrides, projects):
    assert used_projects(tree, overrides) == projects


@pytest.mark.parametrize("name", known_projects())
def test_a_project_adds_and_changes_nothing_else(name):
    project = known_projects()[name]
    base, whole = set(names(defaults())), set(names(defaults((name,))))
    assert base < whole
    assert whole - base >= {sign for sign in project.signs if "." in sign}
    assert not any(is_training_only(sign) for sign in project.signs)
    order = list(known_projects())
    assert not project.needs or order.index(project.needs) < order.index(name)


def test_the_dumps_are_there():
    assert len(DUMPS) >= 9


def test_no_sign_belongs_to_two_projects():
    signs = [sign for project in known_projects().values() for sign in project.signs]
    assert len(signs) == len(set(signs))


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.parent.name)
def test_the_keys_are_those_of_detectron2s_own_dump(path):
    facts = json.loads(path.read_text())
    dump = yaml.safe_load(facts["config_text"])
    assert set(names(defaults(used_projects(dump)))) == set(names(dump))
