"""Accepted labels as training samples: taken in, mended, counted, read as a data set, exported."""

from backend.samples.annotation import read_annotation, read_news
from backend.samples.reconcile import Reconciliation
from backend.samples.sight import Sight
from backend.samples.store import SampleStore

__all__ = ["Reconciliation", "SampleStore", "Sight", "read_annotation", "read_news"]
