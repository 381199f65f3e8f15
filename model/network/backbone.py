"""The backbone: a torchvision classification network cut into stages, one per stride.

Weights come from torchvision by name, or from a file, and may have their batch norms folded in.

TensorFlow's SAME padding adds the extra row and column of a stride-2 convolution at the bottom and
right, torch's symmetric padding at the top and left. Explicit padding would copy every large
feature. So a "same_upper" backbone rotates the picture and its kernels by 180 degrees, which makes
both paddings equal for even heights and widths, and rotates the five features back.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.config import ModelConfig
from model.errors import CheckpointError
from model.torchvision_operators import torchvision

# The blocks of a MobileNet at which its stages are cut, one per stride, and their channels.
MOBILENETS = {
    "mobilenet_v2": ((0, 2, 4, 7, 14, 18), (16, 24, 32, 96, 320)),
    "mobilenet_v3_large": ((0, 2, 4, 7, 13, 17), (16, 24, 40, 112, 960)),
}
RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)


class Backbone(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32 (the last at 16 when ``output_stride`` is 16)."""

    channels: tuple[int, int, int, int, int]

    def __init__(
        self,
        name: str,
        *,
        norm: Literal["batch", "folded"] = "folded",
        padding: Literal["symmetric", "same_upper"] = "symmetric",
        input_channels: int = 3,
        output_stride: Literal[16, 32] = 32,
    ) -> None:
        super().__init__()
        self.name = name
        self.norm = norm
        self.turned = padding == "same_upper"
        self.input_channels = input_channels
        self.stages, self.channels = _stages(name)
        if norm == "folded":
            _fold(self.stages)
        if input_channels != 3:
            _widen_input(self.stages, input_channels)
        if output_stride == 16:
            _dilate(self.stages[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x: B,C,H,W, normalised, H and W multiples of 32. Five features, the finest first."""
        if self.turned:
            x = x.flip((2, 3))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x.flip((2, 3)) if self.turned else x)
        f2, f4, f8, f16, f32 = features
        return f2, f4, f8, f16, f32

    def convolutions(self) -> Iterator[nn.Conv2d]:
        """Every convolution in network order (for mobilenet_v2, that of its layers)."""
        return (module for module in self.stages.modules() if isinstance(module, nn.Conv2d))

    def load_pretrained(self, source: str | Path) -> None:
        """Start from trained weights.

        source: a torchvision weights name ("DEFAULT", "IMAGENET1K_V2", fetched by torchvision or
        found in its cache), a ``.npz`` of folded convolutions, or a ``.safetensors``, ``.pth`` or
        ``.pt`` with torchvision's parameter names. Channels of the input beyond the first three
        start at zero. Raises CheckpointError.
        """
        path = Path(source)
        if path.suffix == ".npz":
            load_folded_npz(self, path)
            return
        if path.suffix in READERS:
            net = torchvision.models.get_model(self.name, weights=None)
            _fill(net, READERS[path.suffix](path), path, self.name)
        else:
            net = _named(self.name, str(source))
        stages = _cut(self.name, net)
        if self.norm == "folded":
            _fold(stages)
        if self.input_channels != 3:
            _widen_input(stages, self.input_channels)
        self.stages.load_state_dict(stages.state_dict())
        if self.turned:
            _turn_kernels(self)


def build_backbone(config: ModelConfig) -> Backbone:
    """The backbone of this configuration."""
    early = config.form == "early"
    return Backbone(
        config.backbone,
        norm=config.backbone_norm,
        padding=config.padding,
        input_channels=5 if early else 3,
        output_stride=config.output_stride if early else 32,
    )


def load_folded_npz(backbone: Backbone, path: Path | str) -> None:
    """Load convolutions with batch norm folded in: ``NN.weight``, ``NN.bias`` in network order.

    ``layers`` is JSON with one entry per convolution (kind, shape, stride, activation); the last
    one, the classifier, is not used. The backbone needs ``norm="folded"``. Raises CheckpointError
    if the file does not fit.
    """
    if backbone.norm != "folded":
        raise CheckpointError(
            "These weights have their batch norms folded in; set backbone_norm to 'folded'."
        )
    convolutions = list(backbone.convolutions())
    try:
        with np.load(path, allow_pickle=False) as file:
            layers = json.loads(str(file["layers"]))
            arrays = [
                (file[f"{index:02d}.weight"], file[f"{index:02d}.bias"])
                for index in range(len(layers))
            ]
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"Cannot read backbone weights from {path}: {error}") from error
    if len(arrays) < len(convolutions):
        raise CheckpointError(
            f"{path} has {len(arrays)} layers, {backbone.name} has {len(convolutions)}."
        )
    for convolution, layer, (weight, bias) in zip(convolutions, layers, arrays, strict=False):
        target = convolution.weight
        fits = weight.shape[2:] == tuple(target.shape[2:]) and weight.shape[0] == target.shape[0]
        if not fits or weight.shape[1] > target.shape[1] or convolution.bias is None:
            raise CheckpointError(f"Layer {layer} of {path} does not fit {backbone.name}.")
        with torch.no_grad():
            target.zero_()[:, : weight.shape[1]] = torch.from_numpy(weight.astype(np.float32))
            convolution.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
    if backbone.turned:
        _turn_kernels(backbone)


def _stages(name: str) -> tuple[nn.ModuleList, tuple[int, int, int, int, int]]:
    if name in MOBILENETS:
        net = torchvision.models.get_model(name, weights=None)
        return _cut(name, net), MOBILENETS[name][1]
    if name in RESNETS:
        net = torchvision.models.get_model(name, weights=None)
        wide = 4 if net.fc.in_features == 2048 else 1
        return _cut(name, net), (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)
    known = ", ".join((*MOBILENETS, *RESNETS))
    raise CheckpointError(f"Unknown backbone '{name}'; known: {known}.")


def _cut(name: str, net: Any) -> nn.ModuleList:
    if name in MOBILENETS:
        blocks = list(net.features)
        cuts = itertools.pairwise(MOBILENETS[name][0])
        return nn.ModuleList(nn.Sequential(*blocks[start:end]) for start, end in cuts)
    return nn.ModuleList(
        [
            nn.Sequential(net.conv1, net.bn1, net.relu),
            nn.Sequential(net.maxpool, net.layer1),
            net.layer2,
            net.layer3,
            net.layer4,
        ]
    )


def _fold(stages: nn.ModuleList) -> None:
    """Fold each batch norm into the convolution registered just before it."""
    for parent in list(stages.modules()):
        convolution: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                convolution = name, child
            elif isinstance(child, nn.BatchNorm2d) and convolution is not None:
                folded = fuse_conv_bn_eval(convolution[1].eval(), child.eval())
                # Folding leaves a bias without gradients; here it is trained like other parameters.
                setattr(parent, convolution[0], folded.train().requires_grad_(True))
                setattr(parent, name, nn.Identity())
                convolution = None


def _widen_input(stages: nn.ModuleList, channels: int) -> None:
    """Give the first convolution more input channels; the new ones start at zero."""
    first = next(module for module in stages.modules() if isinstance(module, nn.Conv2d))
    weight = first.weight.new_zeros(first.out_channels, channels, *first.kernel_size)
    weight[:, :3] = first.weight.detach()
    first.weight = nn.Parameter(weight)
    first.in_channels = channels


def _dilate(stage: nn.Module) -> None:
    """Keep the resolution of the stage's input: its stride becomes dilation."""
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        module.stride = (1, 1)
        if module.kernel_size[0] > 1:
            module.dilation = (2, 2)
            module.padding = (module.kernel_size[0] - 1, module.kernel_size[1] - 1)


def _turn_kernels(backbone: Backbone) -> None:
    with torch.no_grad():
        for convolution in backbone.convolutions():
            convolution.weight.copy_(convolution.weight.flip((2, 3)))


def _named(name: str, weights: str) -> Any:
    """torchvision's network with its weights of this name."""
    try:
        return torchvision.models.get_model(name, weights=weights)
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            f"'{weights}' is no weights file and no torchvision weights name of {name}."
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"torchvision cannot fetch the weights {weights} of {name} ({error}): fetch them where "
            "there is internet, and name the file."
        ) from error


def _fill(net: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load a file's parameters. All but those of the unused classifier must fit."""
    held = net.state_dict()
    state = {key: value for key, value in state.items() if key.partition(".")[0] not in CLASSIFIERS}
    wanted = {key for key in held if key.partition(".")[0] not in CLASSIFIERS}
    counts = {key for key in wanted if key.endswith("num_batches_tracked")}
    wrong = sorted((wanted - counts) - set(state)) + sorted(set(state) - wanted)
    wrong += [key for key in sorted(wanted & set(state)) if held[key].shape != state[key].shape]
    if wrong:
        raise CheckpointError(f"{path} is not of {name}: {wrong[0]} does not fit.")
    net.load_state_dict(state, strict=False)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"Cannot read backbone weights from {path}: {error}") from error


def _read_torch(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"Cannot read backbone weights from {path}: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} does not hold a network's parameters (a state_dict).")
    return state


CLASSIFIERS = ("fc", "classifier")
READERS: Mapping[str, Callable[[Path], Mapping[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pth": _read_torch,
    ".pt": _read_torch,
}
