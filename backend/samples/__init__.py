"""Accepted labels as training samples: saved, reconciled, counted, read as a data set, exported.

Nothing is imported here, so that the command line starts without a database.
"""
