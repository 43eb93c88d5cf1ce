"""Which implementation runs: the Triton kernels or plain torch.

"auto" takes Triton for tensors on CUDA and torch everywhere else. A backend that was asked for by
name either runs or raises.
"""

import importlib.util
import os

BACKENDS = ("auto", "triton", "torch")


def resolve_backend(tensor, requested="auto"):
    """The backend that serves `tensor`: "triton" or "torch".

    Args:
        tensor: any tensor of the call; its device decides "auto".
        requested: "auto", "triton" or "torch".
    Raises:
        ValueError: `requested` is none of these.
        RuntimeError: Triton is due but not installed, or was asked for on a device that it cannot
            serve.
    """
    if requested not in BACKENDS:
        raise ValueError(
            f"backend is {requested!r}: one of {', '.join(map(repr, BACKENDS))} was expected."
        )
    if requested == "torch" or (requested == "auto" and not tensor.is_cuda):
        return "torch"
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError(
            f"Triton is due for a tensor on {tensor.device} (backend={requested!r}) but is not "
            'installed: install it (pip install triton), or pass backend="torch".'
        )
    if not (tensor.is_cuda or interpreting()):
        raise RuntimeError(
            f'backend="triton" needs a CUDA tensor, but this one is on {tensor.device}: move it, '
            'pass backend="auto", or set TRITON_INTERPRET=1 before Triton is imported to run the '
            "kernels in its interpreter (slow, for tests)."
        )
    return "triton"


def interpreting():
    """Whether the environment asks Triton to interpret kernels on the CPU instead of compiling
    them."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")
