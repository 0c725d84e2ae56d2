"""detectron2's LazyConfigs, read without running them."""
