"""The configuration of a PhraseClick network, stored as JSON beside its weights.

One field, ``form``, chooses between the paper's network (clicks are input channels, the whole
network runs for every click) and the served one (the picture is encoded once, clicks enter late).
The paper states neither widths nor backbone depth, so every number below is a *choice*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model.errors import CheckpointError

# Of the numbers in a configuration. A network of larger ones would take all memory.
LARGEST = 4096
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network. All lengths are in pixels of the network's input."""

    form: Literal["early", "late"] = "late"
    # A torchvision classification network by name: a mobilenet or resnet of model.network.backbone.
    backbone: str = "mobilenet_v2"
    # Longest side at which a picture is encoded; a multiple of 32.
    input_size: int = 384
    # Length of a word vector as the LSTM takes it; the LSTM's hidden size in each direction.
    word_dim: int = 100
    # The last dimensions of a word vector are those of model/word_geometry.py.
    word_geometry: bool = False
    phrase_dim: int = 96
    # Late: channels at stride 16; a half of it at 8, a quarter at 4, an eighth at 2.
    # Early: channels after ASPP and in the decoder (DeepLabv3+ has 256).
    channels: int = 128
    # Words that the attribute head predicts ("blue", "chair", ...), in the order of its logits.
    attributes: tuple[str, ...] = ()
    # "same_upper" is TensorFlow's SAME: at stride 2 the extra row and column are bottom and right.
    padding: Literal["symmetric", "same_upper"] = "same_upper"
    # "folded": the backbone has no batch norms, they are folded into its convolutions, which are
    # trained on with their biases. "batch": it keeps them.
    backbone_norm: Literal["batch", "folded"] = "folded"
    # Pixels in [0, 1] become (pixel - mean) / std.
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    # Click distances are cut here and divided by it (PHRASECLICK.md: 255).
    distance_limit: float = 255.0
    # Late form only: radius of the disk drawn at a click.
    click_radius: float = 5.0
    # Late form only: length of a pixel's embedding that is compared with the clicked pixels'.
    embedding_dim: int = 32
    # Late form only: phrase queries that look for pixels, each giving one map.
    phrase_queries: int = 8
    # Late form only: more of them at stride 8, for small things; 0 is none.
    fine_phrase_queries: int = 0
    # Late form only: layers of self-attention (network/attention.py).
    relation_layers: int = 0
    # Late form only: channels at strides 4 and 2; 0 is a quarter and an eighth of ``channels``.
    channels4: int = 0
    channels2: int = 0
    # Late form only: clicks and the previous mask also enter at stride 2, and the newest click has
    # a map of its own at every stride: corrections are local and fine.
    fine_prompts: bool = False
    # Late form only: boxes are an input; otherwise the predictor replaces a box by clicks.
    box_prompts: bool = False
    # Late form only: the network predicts the IoU of its mask.
    iou_head: bool = False
    # Early form only: stride of the feature that ASPP sees.
    output_stride: Literal[16, 32] = 16

    def __post_init__(self) -> None:
        if self.form not in ("early", "late"):
            raise CheckpointError(f"form is '{self.form}', but must be 'early' or 'late'.")
        if self.input_size < 32 or self.input_size % 32:
            raise CheckpointError(f"input_size is {self.input_size}, but must be a multiple of 32.")
        if self.channels < 16 or self.channels % 16:
            raise CheckpointError(f"channels is {self.channels}, but must be a multiple of 16.")
        if self.padding not in ("symmetric", "same_upper"):
            raise CheckpointError(f"padding '{self.padding}' is neither symmetric nor same_upper.")

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Inverse of ``to_dict``.

        Raises CheckpointError on a field this version does not know, and on impossible values.
        """
        known = {field.name: field.default for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise CheckpointError(
                f"The checkpoint's configuration has unknown fields ({', '.join(unknown)}): "
                "it was written by a newer version; update this one."
            )
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        for name, value in fields.items():
            if not _is_like(value, known[name]):
                raise CheckpointError(f"The checkpoint's {name} cannot be {value!r:.80}.")
        return cls(**fields)


def _is_like(value: object, default: object) -> bool:
    """Whether a value of a field has the type of its default, and no excessive size."""
    if isinstance(default, tuple):
        same_length = isinstance(value, tuple) and len(value) == len(default)
        return isinstance(value, tuple) and (same_length or not default)
    if isinstance(default, float):
        return type(value) in (int, float)
    if type(value) is int:
        return type(default) is int and 0 <= value <= LARGEST
    return type(value) is type(default)
