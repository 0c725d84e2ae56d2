"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
STDIO = Path("-")


class ModelPath(click.Path):
    """A path that d2deploy itself checks: its messages say what to do."""

    def __init__(self, kind: type = Path) -> None:
        super().__init__(path_type=kind, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Refuses an empty text."""
        if value == "":
            self.fail("The path is empty. Is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


device = click.option("--device", default="cpu", show_default=True, help="Where to run: cpu, cuda.")
reading = together(
    click.option("-o", "--opts", nargs=2, multiple=True, metavar="KEY VALUE", help="Override a config key."),
    click.option("--min-size", type=click.IntRange(min=0), help="Shorter edge of the input, pixels; 0: no resizing."),
    click.option("--max-size", type=click.IntRange(min=1), help="Its longer edge at most."),
    click.option("--score-thresh", type=float, help="The score that a detection must be above."),
    click.option("--nms-thresh", type=float, help="Of two boxes of a class that overlap by more (IoU) one goes."),
    click.option("--max-detections", type=click.IntRange(min=1), help="An image's detections at most."),
    click.option("--import", "imports", multiple=True, help="Your Python module that registers parts of a network."),
    click.option("--trust-config", is_flag=True, help="Run a LazyConfig's own Python code."),
)
network = together(
    click.option("--config-file", type=ModelPath(), help="The detectron2 config: YAML, or a LazyConfig (.py)."),
    # As text: a Path makes one slash of the two in an address.
    click.option("--weights", type=ModelPath(str), help="The checkpoint; default: what the config names."),
    click.option("--class-names", help="a,b,c, or a file: one name a line, or a COCO json."),
    reading,
)
data = together(
    click.option("--image-root", type=ModelPath(), help="The folder that the names of images start from."),
    click.option("--coco-json", type=ModelPath(), help="COCO annotations, to measure AP."),
    click.option("--sem-seg-root", type=ModelPath(), help="PNGs of class numbers, 255 ignored, to measure mIoU."),
    click.option("--panoptic-json", type=ModelPath(), help="Panoptic annotations, to measure panoptic quality."),
    click.option("--panoptic-root", type=ModelPath(), help="The folder of their PNGs."),
    click.option("--dataset", help="Or a detectron2 name (coco_2017_val), found below $DETECTRON2_DATASETS."),
    click.option("--limit", type=click.IntRange(min=1), help="The first images only."),
)
