"""Pretrained weights: where they come from, files of the user's own, and what identifies them."""
