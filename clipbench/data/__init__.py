"""Data sets: the catalogue, their readers and split rules, and the cache of decoded images."""
