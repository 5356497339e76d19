"""The columns of a user's table, in the words of ``clipbench audit --help``."""

from __future__ import annotations

REQUIRED = ("row", "column", "value")
OPTIONAL = ("table", "std", "n", "test_size", "metric", "average_of", "difference_of", "same_as")
HELP = """\
The file is CSV (commas, semicolons or tabs; decimal points or commas), LaTeX, Markdown or HTML, with any number of
tables, each in one of two forms.

the table as it is printed: row names in the first column, column names in the first line. These names count:
  n, runs, seeds       a row or column of repetitions; "ours (n=3)" works too, and a row's own wins over the column's
  test size, #test     a row or column of test images of one repetition; "UCM (N=420)" works too
  Avg, Average, Mean   the mean of the other columns (or rows); counts of parameters, times and the like are left out,
                       and so is a column without which all averages are right ("average of the targets")
  std                  standard deviations of the column before it
  95% CI, SE           what stands behind ± is no standard deviation: it is not checked
  F1, Dice, AUC, ...   no shares of right answers: GRIM does not apply
A column whose numbers all lie between 0 and 1 is read as fractions of 1.

or one line per printed number, with a header naming these columns:
  row, column, value   required; the value exactly as printed: 97.94, "97.94 ± 0.12", 1.5%, -- (not reported)
  std                  standard deviation, where it does not stand beside the value
  n                    repetitions that the number averages
  test_size            test images of one repetition (for percentages of right answers)
  metric               what it measures, where it is no accuracy
  table                name of the table, where the file holds several
  average_of           this number is the mean of these entries: names of columns (or else of rows), separated by |
  difference_of        this number is the first minus the second of two such names
  same_as              any word: numbers with the same word must be equal
The CSV files that `clipbench table` and `clipbench compare` write are read as well.

What is not given cannot be checked, and the output says so. A file without numbers is an error (exit 2).
"""
