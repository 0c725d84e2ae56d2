"""A full-size config of every family, exported to every format and verified against its network on two golden images.

    python -m benchmarks.full_size [FAMILY...] [--kinds onnx-tracing ...]     # by hand; a few minutes a family

Writes benchmarks/results/full-size.json, keeps the rows of what is not measured anew, and prints a table. Weights
and images are the goldens', sizes those of the goldens. Caffe2 needs D2DEPLOY_CAFFE2_PYTHON.

Where verify says that they differ, both are also compared with the network in float64: an export that is as near to
that as the network itself is as right as the network, whose float32 cannot say more (benchmarks/conditioning.py).
"""

import argparse
import copy
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmarks.bench import THREADS, machine
from benchmarks.conditioning import double
from benchmarks.network import GOLDEN, write_checkpoint
from d2deploy.artifact import read_artifact
from d2deploy.predictor import Predictor
from d2deploy.workflows.compare import compare
from d2deploy.workflows.report import Budget

RESULT = Path(__file__).parent / "results" / "full-size.json"
PANOPTIC_DEEPLAB = (
    "projects/Panoptic-DeepLab/configs/Cityscapes-PanopticSegmentation/"
    "panoptic_deeplab_R_52_os16_mg124_poly_90k_bs32_crop_512_1024_dsconv"
)
CONFIGS = {
    "Faster R-CNN, C4": "COCO-Detection/faster_rcnn_R_50_C4_3x",
    "Faster R-CNN, DC5": "COCO-Detection/faster_rcnn_R_50_DC5_3x",
    "Faster R-CNN, FPN": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "Mask R-CNN, C4": "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x",
    "Mask R-CNN, DC5": "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x",
    "Mask R-CNN, FPN": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
    "Mask R-CNN, RegNetX": "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x",
    "Mask R-CNN, LVIS": "LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
    "Mask R-CNN, GN": "Misc/mask_rcnn_R_50_FPN_3x_gn",
    "Mask R-CNN, deformable": "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
    "Mask R-CNN, MViTv2": "projects/MViTv2/configs/mask_rcnn_mvitv2_t_3x",
    "Keypoint R-CNN": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x",
    "Cascade": "Misc/cascade_mask_rcnn_R_50_FPN_3x",
    "Cascade, ViTDet": "projects/ViTDet/configs/COCO/cascade_mask_rcnn_vitdet_b_100ep",
    "Cascade, Swin": "projects/ViTDet/configs/COCO/cascade_mask_rcnn_swin_b_in21k_50ep",
    "RetinaNet": "COCO-Detection/retinanet_R_50_FPN_3x",
    "FCOS": "COCO-Detection/fcos_R_50_FPN_1x",
    "RPN": "COCO-Detection/rpn_R_50_FPN_1x",
    "Fast R-CNN": "COCO-Detection/fast_rcnn_R_50_FPN_1x",
    "rotated": "extra/rrpn_R_50_FPN",
    "semantic FPN": "Misc/semantic_R_50_FPN_1x",
    "Panoptic FPN": "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x",
    "PointRend": "projects/PointRend/configs/InstanceSegmentation/pointrend_rcnn_R_50_FPN_3x_coco",
    "PointRend, implicit": "projects/PointRend/configs/InstanceSegmentation/implicit_pointrend_R_50_FPN_3x_coco",
    "PointRend, semantic": (
        "projects/PointRend/configs/SemanticSegmentation/pointrend_semantic_R_101_FPN_1x_cityscapes"
    ),
    "DeepLab v3+": (
        "projects/DeepLab/configs/Cityscapes-SemanticSegmentation/deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16"
    ),
    "Panoptic-DeepLab": PANOPTIC_DEEPLAB,
}
KINDS = ("torchscript-tracing", "torchscript-scripting", "onnx-tracing", "openvino-tracing", "caffe2-tracing")
OTHERS = [GOLDEN / "images" / "china.png", GOLDEN / "images" / "flower.png"]  # where a golden has one image
MEASURED = ("boxes_px", "scores", "mask_iou", "keypoints_px", "pixels", "objectness")


def measure(config: str, kinds: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """{kind: the totals of its report, or "failed": why} of one config."""
    from d2deploy import load_model

    facts = json.loads((GOLDEN / "detectron2" / config / "golden.json").read_text())
    images = [GOLDEN / image["file"] for image in facts["images"].values()]
    images += [image for image in OTHERS if image not in images]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder, config)
        sizes = {"min_size": facts["short_edge"], "max_size": facts["max_size"]}
        model = load_model(folder / "config.yaml", folder / "model_final.pth", **sizes)
        (folder / "model_final.pth").unlink()
        rows = {kind: _verified(model, kind, folder / kind, images[:2]) for kind in kinds}
        if differing := [kind for kind, row in rows.items() if "failed" in row and "boxes_px" in row]:
            exact = _exact_results(model, images[:2])
            own = _from_exact(exact, model, images[:2])
            for kind in differing:
                export = _from_exact(exact, read_artifact(folder / kind), images[:2])
                rows[kind]["from_float64"] = {"export": export, "network": own}
        return rows


def _exact_results(model: Any, images: list[Path]) -> tuple[Any, list[Any]]:
    """The model's spec, and what its network in float64 finds in each image."""
    exact = dataclasses.replace(model, core=InFloat64(model.core).eval())
    with Predictor(exact) as predictor:
        return model.spec, [predictor(image) for image in images]


def _from_exact(exact: tuple[Any, list[Any]], source: Any, images: list[Path]) -> dict[str, Any]:
    """How far the results of `source` are from `exact` at most, and how many have no partner there."""
    spec, expected = exact
    with Predictor(source) as predictor:
        rows = [
            compare(image.name, result, predictor(image), spec=spec, budget=Budget())
            for image, result in zip(images, expected, strict=True)
        ]
    found = {name: [x for row in rows if (x := getattr(row, name)) is not None] for name in MEASURED}
    worst = {name: (min if name == "mask_iou" else max)(given) for name, given in found.items() if given}
    return {**worst, "unmatched": sum(row.unmatched for row in rows)}


class InFloat64(nn.Module):
    """A core that computes in float64, and rounds in the end."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        with double():
            self.core = copy.deepcopy(core).double()

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """As the core."""
        with double():
            found = self.core(images.double(), image_sizes)
        return [tensor.float() if tensor.is_floating_point() else tensor for tensor in found]


def _verified(model: Any, kind: str, folder: Path, images: list[Path]) -> dict[str, Any]:
    from d2deploy.errors import D2DeployError
    from d2deploy.workflows.export import export
    from d2deploy.workflows.verify import verify

    format, method = kind.split("-")
    try:
        artifact = export(model, format, folder, method=method, verify=False)
        report = verify(artifact, against=model, images=images)
    except D2DeployError as error:
        return {"failed": str(error)}
    total = report.total
    found = {name: getattr(total, name) for name in MEASURED if getattr(total, name) is not None}
    counts = {"found": total.source, "pairs": total.pairs, "excused": total.excused, "images": len(report.rows)}
    ties = sum(row.is_tie for row in report.rows)
    return {**counts, "ties": ties, **found, **({} if report.ok else {"failed": " ".join(report.reasons)})}


def table(result: dict[str, dict[str, dict[str, Any]]]) -> str:
    """For people: a line a family, the largest differences of each format."""
    kinds = [kind for kind in KINDS if any(kind in row for row in result.values())]
    lines = [f"| family | found | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|"]
    for family, row in result.items():
        found = next((str(cell["found"]) for cell in row.values() if "found" in cell), "")
        lines.append(f"| {family} | {found} | {' | '.join(_cell(row.get(kind)) for kind in kinds)} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not run"
    ties = [f"{found['ties']} tie"] if found.get("ties") else []
    exact = [f"{side} from float64: {_numbers(of)}" for side, of in found.get("from_float64", {}).items()]
    return "; ".join([*(["OVER"] if "failed" in found else []), _numbers(found), *ties, *exact])


def _numbers(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {found[name]:.3g}" for name in MEASURED if name in found)


def main() -> None:
    """Measure, print the table, keep the numbers after each config."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=list(CONFIGS), help="keys of CONFIGS")
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    known = json.loads(RESULT.read_text())["families"] if RESULT.exists() else {}
    for family in options.families:
        known[family] = known.get(family, {}) | measure(CONFIGS[family], tuple(options.kinds))
        rows = {name: known[name] for name in CONFIGS if name in known}
        RESULT.write_text(json.dumps({"machine": machine(), "families": rows}, indent=1) + "\n")
        print(*table({family: known[family]}).splitlines()[2:], sep="\n", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
