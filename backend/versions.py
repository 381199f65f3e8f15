"""Which model version serves, as its checkpoint says."""

from typing import Any


def served(checkpoint: str) -> dict[str, Any]:
    """Version, parent, form and metrics of a checkpoint, checked. Raises CheckpointError."""
    from model.checkpoint import load

    loaded = load(checkpoint)
    return {
        "version": loaded.version,
        "path": str(loaded.path),
        "form": loaded.config.form,
        "backbone": loaded.config.backbone,
        "words": len(loaded.words),
        **{key: value for key, value in loaded.metrics.items() if key != "version"},
    }
