"""The configuration survives JSON and refuses what cannot work."""

import json

import pytest

from model.config import ModelConfig
from model.errors import CheckpointError


def test_survives_json() -> None:
    config = ModelConfig(form="early", backbone="resnet101", attributes=("blue", "chair"))

    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert again == config


def test_a_field_of_a_newer_version_is_named() -> None:
    values = ModelConfig().to_dict() | {"warp_drive": 9}

    with pytest.raises(CheckpointError, match="warp_drive"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", "middle"),
        ("input_size", 100),
        ("input_size", 0),
        ("channels", 20),
        ("padding", "x"),
    ],
)
def test_what_cannot_work_is_refused(field: str, value: object) -> None:
    values = ModelConfig().to_dict() | {field: value}

    with pytest.raises(CheckpointError, match=field):
        ModelConfig.from_dict(values)
