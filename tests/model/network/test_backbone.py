"""The weights' way into the network, against a reference that only knows the file's layer list."""

import json
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from model.errors import CheckpointError
from model.network.backbone import RESNETS, Backbone, load_folded_npz
from model.torchvision_operators import torchvision

# MobileNetV2's table: expansion, channels, repeats, first stride.
TABLE = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
TABLE.append((6, 320, 1, 1))


def layer_list() -> list[dict[str, object]]:
    layers: list[dict[str, object]] = []

    def add(kind: str, shape: list[int], stride: int, activation: str) -> None:
        layers.append(
            {
                "index": len(layers),
                "kind": kind,
                "shape": shape,
                "stride": stride,
                "activation": activation,
            }
        )

    add("conv", [32, 3, 3, 3], 2, "relu6")
    inputs = 32
    for expansion, channels, repeats, first_stride in TABLE:
        for repeat in range(repeats):
            hidden = inputs * expansion
            if expansion != 1:
                add("conv", [hidden, inputs, 1, 1], 1, "relu6")
            stride = first_stride if repeat == 0 else 1
            add("depthwise", [hidden, 1, 3, 3], stride, "relu6")
            add("conv", [channels, hidden, 1, 1], 1, "none")
            inputs = channels
    add("conv", [1280, 320, 1, 1], 1, "relu6")
    add("conv", [1001, 1280, 1, 1], 1, "none")
    return layers


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    layers = layer_list()
    arrays: dict[str, np.ndarray] = {"layers": np.array(json.dumps(layers))}
    for index, layer in enumerate(layers):
        shape = layer["shape"]
        assert isinstance(shape, list)
        scale = (2.0 / np.prod(shape[1:])) ** 0.5
        arrays[f"{index:02d}.weight"] = np.asarray(random.normal(0.0, scale, shape), np.float16)
        arrays[f"{index:02d}.bias"] = np.asarray(random.normal(0.0, 0.1, shape[0]), np.float32)
    path = tmp_path_factory.mktemp("weights") / "net.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def reference(path: Path, x: Tensor, *, same: bool) -> list[Tensor]:
    """The output of every block, computed straight from the file's list of layers."""
    file = np.load(path)
    layers = json.loads(str(file["layers"]))

    def run(x: Tensor, index: int) -> Tensor:
        layer = layers[index]
        weight = torch.from_numpy(file[f"{index:02d}.weight"].astype(np.float32))
        bias = torch.from_numpy(file[f"{index:02d}.bias"])
        kernel, stride = weight.shape[2], layer["stride"]
        if kernel > 1 and same:  # TensorFlow's rule, written out
            pads = []
            for size in (x.shape[3], x.shape[2]):
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                pads += [total // 2, total - total // 2]
            x = functional.pad(x, pads)
        elif kernel > 1:
            x = functional.pad(x, [1, 1, 1, 1])
        groups = x.shape[1] if layer["kind"] == "depthwise" else 1
        y = functional.conv2d(x, weight, bias, stride, groups=groups)
        return y.clamp(0, 6) if layer["activation"] == "relu6" else y

    x = run(run(run(x, 0), 1), 2)
    blocks, index = [x], 3
    while index < len(layers) - 2:
        y = run(run(run(x, index), index + 1), index + 2)
        x = y + x if y.shape == x.shape else y
        blocks.append(x)
        index += 3
    return blocks


@pytest.mark.parametrize("padding", ["same_upper", "symmetric"])
def test_folded_weights_give_what_their_file_says(npz: Path, padding: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    backbone = Backbone("mobilenet_v2", padding=padding).eval()  # type: ignore[arg-type]

    backbone.load_pretrained(npz)
    features = backbone(x)

    blocks = reference(npz, x, same=padding == "same_upper")
    for feature, expected in zip(features, [blocks[i] for i in (0, 2, 5, 12, 16)], strict=True):
        assert torch.allclose(feature, expected, atol=1e-4 * float(expected.abs().max()))


def test_more_input_channels_start_at_zero(npz: Path) -> None:
    torch.manual_seed(0)
    plain = Backbone("mobilenet_v2").eval()
    wide = Backbone("mobilenet_v2", input_channels=5).eval()
    plain.load_pretrained(npz)
    wide.load_pretrained(npz)
    x = torch.rand(1, 5, 32, 32)

    assert torch.allclose(wide(x)[4], plain(x[:, :3])[4], atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "folded"])
def test_torchvision_parameters_from_a_file(norm: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None)
    for module in net.modules():  # as after training: norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.empty(module.num_features).uniform_(-0.5, 0.5)
            module.running_var = torch.empty(module.num_features).uniform_(0.5, 2.0)
    net.eval()
    save_file(net.state_dict(), tmp_path / "resnet18.safetensors")
    x = torch.rand(1, 3, 64, 64)

    backbone = Backbone("resnet18", norm=norm)  # type: ignore[arg-type]
    backbone.load_pretrained(tmp_path / "resnet18.safetensors")
    f32 = backbone.eval()(x)[4]

    stem = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    expected = net.layer4(net.layer3(net.layer2(net.layer1(stem))))
    assert torch.allclose(f32, expected, atol=1e-4)


def test_every_parameter_of_a_folded_backbone_can_be_trained() -> None:
    backbone = Backbone("mobilenet_v2")

    sum(f.mean() for f in backbone(torch.rand(1, 3, 32, 32))).backward()

    assert all(p.grad is not None for p in backbone.parameters())


def trained(name: str) -> torch.nn.Module:
    """A torchvision network as after training: norms that do something."""
    torch.manual_seed(0)
    net: torch.nn.Module = torchvision.models.get_model(name, weights=None)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.empty(module.num_features).uniform_(-0.5, 0.5)
            module.running_var = torch.empty(module.num_features).uniform_(0.5, 2.0)
    return net.eval()


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "resnext50_32x4d"])
def test_torchvisions_own_downloads_are_read(name: str, tmp_path: Path) -> None:
    # given a file as torchvision downloads it
    net = trained(name)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    x = torch.rand(1, 3, 64, 64)
    # when
    backbone = Backbone(name, norm="folded")
    backbone.load_pretrained(tmp_path / "net.pth")
    # then the last feature is the network's own, up to a rounding that grows with depth
    f32 = backbone.eval()(x)[4].detach()
    if name.startswith("mobilenet"):
        expected = net.features[: -1 if name == "mobilenet_v2" else None](x)  # type: ignore[index]
    else:
        stem = net.maxpool(net.relu(net.bn1(net.conv1(x))))  # type: ignore[operator]
        expected = net.layer4(net.layer3(net.layer2(net.layer1(stem))))  # type: ignore[operator]
    assert tuple(f32.shape) == (1, backbone.channels[4], 2, 2)
    expected = expected.detach()
    assert torch.allclose(f32, expected, atol=1e-4 * float(expected.abs().max()))


def test_weights_by_name_come_from_torchvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given that torchvision has fetched resnet18's before
    net = trained("resnet18")
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    address = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(net.state_dict(), cache / address.rpartition("/")[2])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    # when / then
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        backbone = Backbone("resnet18", norm="batch", input_channels=5)
        backbone.load_pretrained(name)
        first = next(backbone.convolutions()).weight
        assert torch.equal(first[:, :3], net.conv1.weight)  # type: ignore[union-attr]
        assert not first[:, 3:].any()


def test_weights_that_cannot_be_fetched_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", offline)
    with pytest.raises(CheckpointError, match=r"cannot fetch.*name the file"):
        Backbone("resnet18").load_pretrained("DEFAULT")


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(trained("resnet18").state_dict(), tmp_path / "resnet18.pth")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "torn.pth").write_bytes(b"PK")
    for name in ("resnet34", "mobilenet_v2"):
        with pytest.raises(CheckpointError, match=f"not of {name}"):
            Backbone(name).load_pretrained(tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match="state_dict"):
        Backbone("resnet18").load_pretrained(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="Cannot read"):
        Backbone("resnet18").load_pretrained(tmp_path / "torn.pth")


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnext50_32x4d", "wide_resnet50_2"]
)
def test_output_stride_16_keeps_the_last_feature_large(name: str) -> None:
    backbone = Backbone(name, output_stride=16).eval()

    features = backbone(torch.rand(1, 3, 64, 96))

    assert [f.shape[2:] for f in features] == [(32, 48), (16, 24), (8, 12), (4, 6), (4, 6)]
    assert tuple(f.shape[1] for f in features) == backbone.channels


def test_what_does_not_fit_is_said(npz: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not fit"):
        load_folded_npz(Backbone("resnet18"), npz)
    with pytest.raises(CheckpointError, match="folded"):
        load_folded_npz(Backbone("mobilenet_v2", norm="batch"), npz)
    with pytest.raises(CheckpointError, match="Cannot read"):
        load_folded_npz(Backbone("mobilenet_v2"), tmp_path / "missing.npz")
    with pytest.raises(CheckpointError, match="no torchvision weights name"):
        Backbone("mobilenet_v2").load_pretrained("IMAGENET99K")
    with pytest.raises(CheckpointError, match="resnet101"):
        Backbone("vgg19")
    assert "resnet101" in RESNETS
