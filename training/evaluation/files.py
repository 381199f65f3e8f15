"""The report as files for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.evaluation.protocol import MOST


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """The whole report. Nothing in it is NaN or infinite, which JSON does not know."""
    path.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, figures: Mapping[str, Any]) -> None:
    """One row for each case of each run; iou1 to iou20, empty from where the case ended."""
    rows = list(_rows(figures))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _rows(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for run in (figures, *figures["further"]):
        for case in run["per_case"]:
            row = {"version": run["version"], "mode": run["mode"], "jitter": run["jitter"], **case}
            row["objects"] = " ".join(str(number) for number in case["objects"])
            del row["ious"], row["clicks"], row["milliseconds"]
            ious = case["ious"]
            row |= {f"iou{k + 1}": ious[k] if k < len(ious) else "" for k in range(MOST)}
            yield row
