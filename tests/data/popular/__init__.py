"""Layouts of the data sets that are trained on most: their real column names and kinds of cells, with invented rows."""
