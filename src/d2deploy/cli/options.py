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


device = click.option(
    "--device", default="cpu", show_default=True, help="Where to run: cpu, cuda, or what the runtime calls it."
)
reading = together(
    click.option(
        "-o", "--opts", nargs=2, multiple=True, metavar="KEY VALUE", help="Change a config key; may be repeated."
    ),
    click.option("--min-size", type=click.IntRange(min=0), help="Shorter edge of the input, pixels; 0: no resizing."),
    click.option("--max-size", type=click.IntRange(min=1), help="Longer edge at most, pixels."),
    click.option("--score-thresh", type=float, help="Keep detections with a higher score than this."),
    click.option(
        "--nms-thresh", type=float, help="Of two boxes of a class that overlap by more (IoU) keep the better."
    ),
    click.option(
        "--max-detections", type=click.IntRange(min=1), help="Keep this many detections of an image, the best."
    ),
    click.option("--import", "imports", multiple=True, help="Python module that registers network parts of yours."),
    click.option(
        "--trust-config", is_flag=True, help="Run a LazyConfig's own Python code: only for one that you trust."
    ),
)
network = together(
    click.option(
        "--config-file", type=ModelPath(), help="detectron2 config: YAML, LazyConfig (.py), or a name of d2deploy zoo."
    ),
    # As text: a Path makes one slash of the two in an address.
    click.option("--weights", type=ModelPath(str), help="Checkpoint: file or address; default: what the config names."),
    click.option("--class-names", help="Names of the classes: a,b,c, or a file, one a line, or a COCO json."),
    reading,
)
data = together(
    click.option("--image-root", type=ModelPath(), help="Folder in which the images of the annotations lie."),
    click.option("--coco-json", type=ModelPath(), help="COCO annotations, to measure AP."),
    click.option(
        "--sem-seg-root", type=ModelPath(), help="Folder of PNGs of class numbers, 255 ignored, to measure mIoU."
    ),
    click.option("--panoptic-json", type=ModelPath(), help="COCO panoptic annotations, to measure panoptic quality."),
    click.option("--panoptic-root", type=ModelPath(), help="Folder of the PNGs of --panoptic-json."),
    click.option("--dataset", help="Instead: detectron2's name, as coco_2017_val, below $DETECTRON2_DATASETS."),
    click.option("--limit", type=click.IntRange(min=1), help="Measure on this many images, the first."),
)
