"""The config room: detectron2's YAML in, frozen dataclasses out. Nothing here needs torch."""
