"""Lets torchvision be imported where its compiled operators do not fit the installed torch.

torchvision's PyPI wheels can lag behind torch: the compiled library then is not loaded, and
``import torchvision`` stops at once, because it describes operators (``nms``, ``qnms``) that were
never declared. This project uses torchvision's networks and transforms, never those operators, so
declaring their schemas is enough. This is the one place that does it: import torchvision through
``from model.torchvision_operators import torchvision``.
"""

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("torchvision::nms", "torchvision::qnms")


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


declare_missing_operators()

import torchvision  # noqa: E402

__all__ = ["OPERATORS", "declare_missing_operators", "torchvision"]
