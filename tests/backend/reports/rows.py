"""Rows as the backend writes them, for tests that fill its tables directly."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from backend.label_studio.rle import PackedMask


def event(
    place: Mapping[str, Any], kind: str, at: datetime, target: int, region: str, **values: Any
) -> dict[str, Any]:
    """An event of the log. place: its project and task. It is answered if ``values`` name a
    request."""
    answered = {"answered_at": at + timedelta(milliseconds=80), "milliseconds": 80.0}
    return {
        **place,
        "created_at": at,
        "kind": kind,
        "target_id": target,
        "region_id": region,
        "request_id": "",
        "text": "",
        "model_version": "",
        "x_percent": None,
        "y_percent": None,
        **(answered if values.get("request_id") else dict.fromkeys(answered)),
        **values,
    }


def annotation(
    place: Mapping[str, Any], number: int, at: datetime, annotator: int, digest: str = ""
) -> dict[str, Any]:
    """An annotation that was submitted at this time."""
    return {
        **place,
        "annotation_id": number,
        "created_at": at,
        "updated_at": at,
        "seen_at": at,
        "annotator": annotator,
        "digest": digest,
        "left_out": {},
    }


def sample(
    project: str,
    annotation: int,
    region: str,
    label: str,
    mask: PackedMask,
    *,
    number: int = 0,
    area: int,
    phrase: str = "",
) -> dict[str, Any]:
    """A brush region of an annotation."""
    return {
        "project": project,
        "annotation_id": annotation,
        "number": number,
        "region_id": region,
        "image": "image",
        "brush": "brush",
        "label": label,
        "origin": "manual",
        "phrase": phrase,
        "clicks": [],
        "width": mask.width,
        "height": mask.height,
        "area": area,
        "mask": mask.data,
    }


def cost(
    place: Mapping[str, Any],
    annotation: int,
    region: str,
    submitted_at: datetime,
    *,
    target: int,
    first_at: datetime | None,
    counts: tuple[int, int, int, int],
    ious: Sequence[float],
    version: str,
    corrected: int,
    **values: Any,
) -> dict[str, Any]:
    """What a region cost. target: 0 for one that was drawn by hand. counts: positive and negative
    clicks, phrases and undos."""
    positive, negative, phrases, undos = counts
    interactions = positive + negative + phrases
    return {
        **place,
        "annotation_id": annotation,
        "brush": "brush",
        "region_id": region,
        "model_version": version if target else "",
        "known": bool(target),
        "origin": "manual",
        "positive": positive,
        "negative": negative,
        "phrases": phrases,
        "undos": undos,
        "predictions": interactions,
        "interactions": interactions,
        "first_at": first_at,
        "accepted_at": None if first_at is None else submitted_at,
        "submitted_at": submitted_at,
        "seconds": None if first_at is None else (submitted_at - first_at).total_seconds(),
        "ious": list(ious),
        "first_iou": ious[0] if ious else None,
        "last_iou": ious[-1] if ious else None,
        "needed_85": next((n for n, iou in enumerate(ious, 1) if iou >= 0.85), None),
        "corrected": corrected if target else None,
        "targets": [target] if target else [],
        "drawn_at": submitted_at,
        **values,
    }
