"""torchvision can be imported with any installed build."""

import subprocess
import sys

import torch

from model.torchvision_operators import OPERATORS, declare_missing_operators


def test_torchvision_can_be_imported_first_thing_in_a_process() -> None:
    program = (
        "from model.torchvision_operators import torchvision;"
        "print(torchvision.models.mobilenet_v2.__name__)"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "mobilenet_v2"


def test_nothing_is_declared_twice() -> None:
    assert declare_missing_operators() == ()


def test_the_operators_exist_afterwards() -> None:
    for name in OPERATORS:
        namespace, operator = name.split("::")
        assert hasattr(getattr(torch.ops, namespace), operator)


def test_torchs_compiler_is_not_loaded_until_somebody_compiles() -> None:
    # given: a process that has only opened the network's libraries
    program = """
import sys
from model.torchvision_operators import torchvision, is_compile_supported
from model import predictor
assert "torch._dynamo" not in sys.modules
# when: the one function that torchvision took from it is called
print(is_compile_supported("cpu"), torchvision.ops.roi_align.__module__)
# then: it is the real one, and so is the module
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported("cpu") is is_compile_supported("cpu")
"""

    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert result.stdout.split()[1].startswith("torchvision")
