"""Lets torchvision be imported where its compiled operators do not fit the installed torch.

torchvision's PyPI wheels can lag behind torch: the compiled library then is not loaded, and
``import torchvision`` stops at once, because it describes operators (``nms``, ``qnms``) that were
never declared. This project uses torchvision's networks and transforms, never those operators, so
declaring their schemas is enough. This is the one place that does it: import torchvision through
``from model.torchvision_operators import torchvision``.

It also keeps torchvision's import from loading torch's compiler, which takes as long to load as
the rest of torch and is only needed for an operator that is not used here.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_COMPILER = "torch._dynamo.utils"
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("torchvision::nms", "torchvision::qnms")


def is_compile_supported(device_type: Any) -> Any:
    """Loads torch's own function when called."""
    return importlib.import_module(_COMPILER).is_compile_supported(device_type)


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Replace the compiler's utilities by that one function while torchvision is imported."""
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = ModuleType(_COMPILER)
    stand_in.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    sys.modules[_COMPILER] = stand_in
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


def declare_missing_operators() -> tuple[str, ...]:
    """Declare the schemas that torchvision's import needs and that no library has declared.

    A torchvision whose compiled library fits declares them itself while it is imported, so the
    plain import is tried first and nothing is declared where it works. Returns what was declared.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return ()
    declared = []
    for name in OPERATORS:
        namespace, operator = name.split("::")
        if not hasattr(getattr(torch.ops, namespace), operator):
            torch.library.define(name, SCHEMA)
            declared.append(name)
    return tuple(declared)


try:
    with _without_compiler():
        declare_missing_operators()
        import torchvision
except ImportError:  # this torchvision wants more of the compiler
    declare_missing_operators()
    import torchvision

__all__ = ["OPERATORS", "declare_missing_operators", "torchvision"]
