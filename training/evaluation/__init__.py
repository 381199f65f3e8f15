"""Measuring a model: clicks and IoU, with intervals, on held-out pictures."""
