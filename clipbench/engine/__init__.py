"""Training and evaluation: one loop for every table, with several seeds in one pass over the frozen model."""
