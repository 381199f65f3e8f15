"""Labeling configs and deployment files that a Label Studio admin copies."""
