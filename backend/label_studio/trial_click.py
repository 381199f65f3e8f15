"""One click of nobody's, by which connect and doctor see whether a mask comes back."""

from collections.abc import Mapping
from typing import Any

from backend.label_studio.config import ImageControls

# Label Studio hands the context on as it is. The backend answers a probe like any click, but
# neither remembers nor counts it: a check must leave nothing behind on an annotator's task.
PROBE = {"probe": True}


def trial_prompt(image: ImageControls) -> dict[str, Any] | None:
    """What the page would send for a click in the middle, or for a phrase where clicks do nothing.

    None: the image has neither smart key points nor a phrase.
    """
    common = {"id": "phraseclick", "to_name": image.name, "origin": "manual"}
    for control in image.clicks:
        if not control.smart:
            continue
        value: dict[str, Any] = {"x": 50.0, "y": 50.0, "width": 0.3}
        objects = [label.label for label in control.labels if label.role == "object"]
        if objects:
            key = "keypointlabels" if control.type == "keypointlabels" else "labels"
            value[key] = [objects[0].written]
        return {
            **common,
            "from_name": control.name,
            "type": control.type if objects else "keypoint",
            "is_positive": True,
            # Of no weight: the backend measures the picture itself.
            "original_width": 100,
            "original_height": 100,
            "image_rotation": 0,
            "value": value,
        }
    if image.phrase:
        words = image.labels[0][1].value if image.labels else "object"
        text = {"text": [words]}
        return {**common, "from_name": image.phrase, "type": "textarea", "value": text}
    return None


def read_answer(answer: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether Label Studio's answer holds a mask, and what there is to say about it."""
    if answer.get("errors"):
        errors = "; ".join(map(str, answer["errors"]))
        return False, f"Label Studio got no answer from the backend: {errors}"
    data = answer.get("data")
    result = (data.get("result") if isinstance(data, dict) else None) or []
    said = " ".join(
        str(text)
        for item in result
        if item.get("type") == "textarea"
        for text in item["value"]["text"]
    )
    if any("rle" in item.get("value", {}) for item in result):
        return True, f"a mask came back. {said}".strip()
    if said:
        return False, f"no mask. {said}"
    return False, "no mask, and the config has no text area 'status' that could say why."
