"""Starts Triton kernels, and compiles them for a GPU without having it.

A kernel module passes each launch through a function of the signature of `launch`. So `Recorder`
sees the very launches that a run makes, from tensors on the meta device, and `compile_launch`
compiles them for any NVIDIA architecture on any machine.
"""

import contextlib
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

POINTER_TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int16: "*i16",
    torch.uint8: "*u8",
}

PROCESSORS = {"cpu": 4, "meta": 132}
"""Streaming multiprocessors: of the interpreter (enough to exercise what joins the splits), and of
the H200 that launches are recorded for."""

CAPABILITY = {"cpu": 90, "meta": 90}
"""Architecture as in sm_90, of devices that have none: see `recorded_for`."""


def launch(kernel, grid, args, constants, **options):
    """Runs `kernel` over `grid` on the device of its first tensor, whichever device is current."""
    device = next(arg.device for arg in args if isinstance(arg, torch.Tensor))
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[grid](*args, **constants, **options)


@cache
def processors(device):
    """Streaming multiprocessors of a torch.device: how many programs fill it."""
    if device.type in PROCESSORS:
        return PROCESSORS[device.type]
    return torch.cuda.get_device_properties(device).multi_processor_count


def capability(device):
    """The architecture of a torch.device: 90 of an H100 or H200."""
    if device.type in CAPABILITY:
        return CAPABILITY[device.type]
    return _capability(device)


@cache
def _capability(device):
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


@contextlib.contextmanager
def recorded_for(architecture):
    """Within this, launches that are recorded from tensors on the meta device are those of
    sm_`architecture`."""
    before, CAPABILITY["meta"] = CAPABILITY["meta"], architecture
    try:
        yield
    finally:
        CAPABILITY["meta"] = before


def cdiv(number, divisor):
    """The quotient of whole numbers, rounded up. That of Triton's name serves kernels too, and
    takes several microseconds of the host for it."""
    return -(-number // divisor)


def next_power_of_2(number):
    """The least power of two that is not below a whole number of 1 or more."""
    return 1 << (number - 1).bit_length()


@dataclass
class Recorder:
    """Takes the place of `launch` and keeps the launches: (kernel, args, constants, options)."""

    launches: list = field(default_factory=list)

    def __call__(self, kernel, grid, args, constants, **options):
        self.launches.append((kernel, args, constants, options))


@dataclass(frozen=True)
class CompiledKernel:
    """What the assembler says about a compiled kernel; spill_bytes is the stack frame of a thread,
    where registers spill to."""

    registers: int
    spill_bytes: int
    shared_bytes: int
    wgmma: int


def compile_launch(kernel, args, constants, options, capability):
    """Compiles a recorded launch for sm_`capability` (90 for H100 and H200) without a GPU, as the
    launcher would specialise it.

    Raises:
        RuntimeError: Triton interprets here (TRITON_INTERPRET is set), so that there is nothing to
            compile.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    if not isinstance(kernel, triton.JITFunction):
        raise RuntimeError(
            "Triton interprets kernels in this process: unset TRITON_INTERPRET to compile them."
        )
    signature, constexprs, attributes = {}, dict(constants), {}
    for position, (name, arg) in enumerate(zip(kernel.arg_names, args, strict=False)):
        signature[name], aligned = _specialise(arg)
        if signature[name] == "constexpr":
            constexprs[name] = arg
        elif aligned:
            attributes[(position,)] = [["tt.divisibility", 16]]
    signature.update(dict.fromkeys(constants, "constexpr"))
    signature = {name: signature[name] for name in kernel.arg_names}
    source = _source(kernel, signature, constexprs, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    registers, stack = _resources(
        compiled.asm["cubin"], Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    )
    return CompiledKernel(
        registers, stack, compiled.metadata.shared, compiled.asm["ptx"].count("wgmma.mma_async")
    )


def _source(kernel, signature, constexprs, attributes):
    from triton.backends import compiler
    from triton.compiler import ASTSource

    if not hasattr(compiler, "AttrsDescriptor"):
        return ASTSource(kernel, signature, constexprs, attributes)
    # Before Triton 3.3 constants stood beside the signature, and attributes came as an object.
    aligned = {
        "arg_properties": {
            "tt.divisibility": tuple(position for (position,) in attributes),
            "tt.equal_to": (),
        }
    }
    types = {name: kind for name, kind in signature.items() if name not in constexprs}
    return ASTSource(
        kernel,
        types,
        constexprs,
        compiler.AttrsDescriptor.from_dict({**aligned, "cls": "AttrsDescriptor"}),
    )


def _specialise(arg):
    """(type, whether Triton takes it as divisible by 16): None and the integer 1 become
    constants."""
    if isinstance(arg, torch.Tensor):
        return POINTER_TYPES[arg.dtype], True
    if arg is None or (isinstance(arg, int) and arg == 1):
        return "constexpr", False
    if isinstance(arg, int):
        return ("i32" if abs(arg) < 2**31 else "i64"), arg % 16 == 0
    return "fp32", False


def _resources(cubin, cuobjdump):
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            [cuobjdump, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise RuntimeError(f"cuobjdump printed no resource usage; it printed: {text!r}")
    return int(found[1]), int(found[2])
