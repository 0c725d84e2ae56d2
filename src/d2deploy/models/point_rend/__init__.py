"""PointRend, a project of detectron2: masks and labels that are mended where they are unsure (Kirillov et al. 2020)."""
