"""From LazyConfigs to schema: the only files that know the names of detectron2's classes and their arguments.

A backbone is a row of BACKBONES (backbone.py), a meta-architecture one of ARCHITECTURES (model.py).
"""
