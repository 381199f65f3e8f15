"""Accepted labels as training samples: taken in, mended, counted, read as a data set, exported.

Nothing is imported here, so that the command line can name its commands without a database.
"""
