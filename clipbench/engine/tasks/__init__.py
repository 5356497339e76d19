"""Tasks: what a model is trained for, its batches, and how it is scored."""
