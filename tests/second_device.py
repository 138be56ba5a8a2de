"""A second device without hardware, which computes on the CPU and refuses to be mixed with it as a GPU does.

A tensor of it says that it lies on torch's ``meta`` device, which the autograd of every build of torch knows, and holds
its numbers in ``numbers``. Every operation sees the rule of a GPU: all tensors on one device, those without axes aside;
only copies cross. The numbers are those of the CPU, bit for bit.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

SECOND = torch.device("meta")
_aten = torch.ops.aten


class SecondTensor(torch.Tensor):
    @staticmethod
    def __new__(cls, numbers):
        return torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            device=SECOND,
        )  # fmt: skip

    def __init__(self, numbers):
        self.numbers = numbers

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func == torch.Tensor.data.__set__:
            tensor, data = args
            assert isinstance(data, SecondTensor), "a parameter would change its device"
            tensor.numbers = data.numbers
            return None
        with torch._C.DisableTorchFunctionSubclass():  # or every result would become a SecondTensor
            return func(*args, **kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func}: enter SecondDevice first")


class SecondDevice(TorchDispatchMode):
    """While entered, ``SECOND`` is a device to compute on. ``used``: names of the operations that ran there."""

    def __init__(self):
        super().__init__()
        self.used = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given, form = tree_flatten((args, kwargs or {}))
        tensors = [x for x in given if isinstance(x, torch.Tensor)]
        second = [x for x in tensors if isinstance(x, SecondTensor)]
        asked = (kwargs or {}).get("device")
        if func not in (_aten._to_copy.default, _aten.copy_.default) and second:
            for x in tensors:
                if not isinstance(x, SecondTensor) and x.dim():
                    raise RuntimeError(f"{func}: expected all tensors on one device, found the CPU's too")

        def own(x):
            if isinstance(x, torch.device):
                return torch.device("cpu")
            return x.numbers if isinstance(x, SecondTensor) else x

        positional, named = tree_unflatten([own(x) for x in given], form)
        result = func(*positional, **named)
        there = asked == SECOND if asked is not None else bool(second)
        if func is _aten.copy_.default:
            return args[0]
        if not there:
            return result
        self.used.add(str(func))
        owners = {id(x.numbers): x for x in second}

        def wrap(x):
            if not isinstance(x, torch.Tensor):
                return x
            return owners[id(x)] if id(x) in owners else SecondTensor(x)

        return tree_map(wrap, result)
