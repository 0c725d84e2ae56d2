"""Read an image file as detectron2 does, resize it, pad it: numpy and Pillow."""
