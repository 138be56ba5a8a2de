"""Values of torch modules as arrays, and where their classes come from."""

from __future__ import annotations

from typing import Any

import torch

from sastdeploy.exchange.parts import Array, floats


def array_of(value: Any) -> Array:
    """Return a number or tensor as float64, of float32 exactly."""
    tensor = torch.as_tensor(value).detach().cpu()
    return floats(tensor.to(torch.float64).numpy())


def home_of(value: Any) -> str:
    """Return the package that a value's class, or a class or function itself, comes from."""
    owner = value if hasattr(value, "__name__") else type(value)
    return str(owner.__module__).split(".")[0]
