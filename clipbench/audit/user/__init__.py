"""A table of the user's own, as printed numbers, in whatever form it is printed or saved."""
