"""Networks: one file a part, tensors in and tensors out; module attributes are the checkpoint's names."""
