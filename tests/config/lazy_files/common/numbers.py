# ruff: noqa
# mypy: ignore-errors
# Read by test_lazy.py, never run.
numbers = dict(mean=[1.5, 2.5, 3.5])
