"""fastneg export."""

from __future__ import annotations

from fastneg.config import PretrainConfig
from fastneg.models.export import export_weights
from fastneg.runs import checkpoint
from fastneg.runs.outputs import export_output


def run_export(config):
    """Write the weights of a run's newest checkpoint."""
    out = export_output(config)
    path, state = checkpoint.newest_with(config.run, ("config", "method"))
    settings = PretrainConfig.read(state["config"])
    said = export_weights(state["method"], settings, config.format, out)
    kept = "as its metadata say"
    if config.format not in ("safetensors", "huggingface", "onnx"):
        kept = "which the format cannot hold: tell it to whoever takes the file"
    print(
        f"{config.out}: {path} as {config.format}. "
        f"Images must be normalised with {settings.normalisation()}, {kept}."
    )
    if said:
        print("\n".join(said))
    return 0
