"""Which runs there are: from a table's cells to jobs, and why a cell cannot run."""
