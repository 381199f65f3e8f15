"""What is kept in memory of a picture that is written into its address."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from backend.images import embeddings
from backend.images.embeddings import Embeddings, TaskPicture
from backend.images.loader import Pictures
from backend.label_studio.payloads import Project
from backend.label_studio.projects import LabelStudioHosts
from backend.metrics import Metrics
from backend.settings import Settings


class _Encoder:
    """Stands in for a predictor."""

    version = "base"
    cached_bytes = 0

    def cached(self, key: str) -> None:
        return None

    def encode(self, array: Any, key: str) -> Any:
        return Image.fromarray(array)


@pytest.mark.parametrize(("longer", "kept"), [(0, 1), (2_000, 0)])
def test_a_long_address_is_not_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, longer: int, kept: int
) -> None:
    # given pictures in addresses, one of them with blanks that make it long
    monkeypatch.setattr(embeddings, "_KNOWN_CHARACTERS", 1_000)
    monkeypatch.setattr(embeddings, "_KEPT_CHARACTERS", 1_000)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}{' ' * longer}!"
    place = TaskPicture(address, Project(1), 1)
    pictures = Embeddings(Pictures(settings, LabelStudioHosts(settings)), Metrics())
    encoder: Any = _Encoder()
    # when
    monkeypatch.setattr(pictures._ahead, "submit", lambda *job: None)
    for _ in range(2):
        pictures.of(place, encoder)
    pictures.ahead(place, encoder)
    # then
    assert (len(pictures._known), len(pictures._waiting)) == (kept, kept)
    pictures.close()
