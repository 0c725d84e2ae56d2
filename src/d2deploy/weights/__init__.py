"""Checkpoints: read without running code, matched to a network by name, with a report of what did not fit."""
