"""Which of torch's operators a call runs."""

from torch.utils._python_dispatch import TorchDispatchMode


def operations(call):
    """Their names, one for each time."""
    found = []

    class Listed(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Listed():
        call()
    return found
