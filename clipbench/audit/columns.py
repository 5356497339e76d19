"""The columns of a user's CSV, in the words of ``clipbench audit --help``."""

from __future__ import annotations

REQUIRED = ("row", "column", "value")
OPTIONAL = ("table", "std", "n", "test_size", "average_of", "difference_of", "same_as")
HELP = """\
The CSV takes one of two forms.

one line per printed number, with a header naming these columns:
  row, column, value   required; the value exactly as printed: 97.94, "97.94 ± 0.12", 1.5%, -- (not reported)
  std                  standard deviation, where it does not stand beside the value
  n                    repetitions that the number averages
  test_size            test images of one repetition (for percentages of correct answers)
  table                name of the table, where the file holds several
  average_of           this number is the mean of these entries: names of columns (or else of rows), separated by |
  difference_of        this number is the first minus the second of two such names
  same_as              any word: numbers with the same word must be equal

or the table as it is printed: row names in the first column, column names in the header. A row named "n" and a row
named "test_size" give repetitions and test images of each column; a row or column named Avg, Average or Mean is taken
as the mean of all others.

What is not given cannot be checked, and the output says so.
"""
