"""From LazyConfigs to schema: the only files that know the names of detectron2's classes and their arguments."""
