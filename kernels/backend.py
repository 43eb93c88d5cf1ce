"""Which implementation runs: the Triton kernels, loops that numba compiles, or plain torch.

"auto" takes Triton for tensors on CUDA. Elsewhere it takes numba where a kernel has such loops and
numba is installed, and torch where not. A backend that was asked for by name either runs or raises.
"""

import importlib.util
import os

BACKENDS = ("auto", "triton", "torch")
"""Of a kernel without loops for numba."""
NUMBA_BACKENDS = ("auto", "triton", "numba", "torch")


def resolve_backend(tensor, requested="auto", backends=BACKENDS):
    """The backend that serves `tensor`: "triton", "numba" or "torch".

    Args:
        tensor: any tensor of the call; its device decides "auto".
        requested: one of `backends`.
        backends: what the kernel offers, "auto" among it.
    Raises:
        ValueError: `requested` is none of these.
        RuntimeError: Triton is due but not installed, or a backend was asked for on a device that
            it cannot serve.
        ModuleNotFoundError: numba is due but not installed.
    """
    if requested not in backends:
        raise ValueError(
            f"backend is {requested!r}: one of {', '.join(map(repr, backends))} was expected."
        )
    chosen = _automatic(tensor, backends) if requested == "auto" else requested
    if chosen == "triton":
        _require_triton(tensor, requested)
    elif chosen == "numba":
        _require_numba(tensor)
    return chosen


def product_backend(tensor, operand, requested="auto"):
    """Which of "triton" and "torch" serves a kernel whose products are taken in `operand`.

    Args:
        tensor, requested: as for `resolve_backend`.
        operand: "float64", which torch alone takes, "tf32", which Triton alone takes, or another
            name of a dtype.
    Raises:
        ValueError: the backend does not take these. And as `resolve_backend`.
    """
    if operand == "float64":
        if requested == "triton":
            raise ValueError(
                'backend is "triton" but only the torch backend takes float64: convert the '
                'inputs, or pass "auto".'
            )
        requested = "torch"
    chosen = resolve_backend(tensor, requested)
    if chosen == "torch" and operand == "tf32":
        raise ValueError(
            f'precision is "tf32", which the torch backend (chosen for {tensor.device}) does not '
            'offer: pass "ieee" or "bf16".'
        )
    return chosen


def _automatic(tensor, backends):
    if tensor.is_cuda:
        return "triton"
    if "torch" not in backends:
        return "numba"
    return "numba" if "numba" in backends and has_numba() else "torch"


def _require_triton(tensor, requested):
    if importlib.util.find_spec("triton") is None:
        raise RuntimeError(
            f"Triton is needed for a tensor on {tensor.device} (backend={requested!r}) but is not "
            'installed: install it (pip install triton), or pass backend="torch".'
        )
    if not (tensor.is_cuda or interpreting()):
        raise RuntimeError(
            f'backend="triton" needs a CUDA tensor, but this one is on {tensor.device}: move it, '
            'pass backend="auto", or set TRITON_INTERPRET=1 before Triton is imported to run the '
            "kernels in its interpreter (slow, for tests)."
        )


def _require_numba(tensor):
    if tensor.device.type != "cpu":
        raise RuntimeError(
            f'backend="numba" takes tensors on the CPU only, but this one is on {tensor.device}: '
            'pass backend="auto" or "triton".'
        )
    if not has_numba():
        raise ModuleNotFoundError(
            "numba is not installed: this call needs it on a CPU; install the extra, pip install "
            "'fastneg[train]'.",
            name="numba",
        )


def has_numba():
    """Whether numba is installed; it is not imported."""
    return importlib.util.find_spec("numba") is not None


def interpreting():
    """Whether the environment asks Triton to interpret kernels on the CPU instead of compiling
    them."""
    return _switched_on("TRITON_INTERPRET")


def debugging():
    """Whether the environment asks for checks of values, which wait for the device:
    FASTNEG_DEBUG=1."""
    return _switched_on("FASTNEG_DEBUG")


def _switched_on(name):
    return os.environ.get(name, "0").lower() in ("1", "true", "on", "yes")
