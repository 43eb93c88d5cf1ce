"""The pipelines that a GPU runs are those that the CPU runs, operator by operator, as DALI gets
them: defined and serialised, which takes no GPU."""

import numpy as np
import pytest
import torch
from nvidia.dali import backend, types

from fastneg.data import BetonReader, BetonWriter
from fastneg.data.load import feeding
from fastneg.data.load.labelled_loaders import CropLoader, EvalLoader
from fastneg.data.load.pipeline import define_pipeline
from fastneg.data.load.train_loader import TrainLoader
from helpers.dali_graph import operators, outputs
from helpers.images import jpeg, photo

CPU, GPU = torch.device("cpu"), torch.device("cuda")  # without a number: defined, not built
DECODER = "decoders__Image"
BATCH = 4


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """Images of 41×40 to 60×59 pixels, each with a texture of 24×32."""
    path, rng = tmp_path_factory.mktemp("gpu_pipeline") / "x.beton", np.random.default_rng(0)
    with BetonWriter(path, (), paired_fields=("texture",)) as writer:
        for side in range(40, 60):
            texture = jpeg(photo(rng, 24, 32)), 24, 32
            image = jpeg(photo(rng, side, side + 1))
            writer.add(image, side, side + 1, paired={"texture": texture})
    with BetonReader(path) as reader:
        yield reader


LOADERS = {
    "training": lambda reader: TrainLoader(reader, BATCH, 32),
    "more views": lambda reader: TrainLoader(reader, BATCH, 32, views=3, augmentation="crop_flip"),
    "the kernel augments": lambda reader: TrainLoader(reader, BATCH, 32, augment_with="kernel"),
    "textures of the file": lambda reader: TrainLoader(reader, BATCH, 32, texture="file"),
    "textures of the image": lambda reader: TrainLoader(reader, BATCH, 32, texture="image"),
    "bicubic": lambda reader: TrainLoader(reader, BATCH, 32, interpolation="bicubic"),
    "probe": lambda reader: CropLoader(reader, BATCH, 32),
    "evaluation": lambda reader: EvalLoader(reader, BATCH, 32),
}


@pytest.fixture
def asked(monkeypatch):
    """What loaders ask of `build_pipeline`: (batch_size, {option: value}) each."""
    calls = []
    monkeypatch.setattr(
        feeding, "build_pipeline", lambda batch, **options: calls.append((batch, options))
    )
    return calls


def on_the_gpu(cpu, decoder):
    """The operators of a GPU that do what those of the CPU do.

    All that is made of the decoded pixels stays there; what an image is cut and changed by, and its
    decoded size, are the host's.

    Args:
        cpu: the CPU's, as of `operators`.
        decoder: further arguments of each decoder in turn.
    """
    there, decoder = set(), iter(decoder)
    place = lambda edge: (edge[0], "gpu" if edge[0] in there else "cpu", edge[2])
    for each in cpu:
        inputs, arguments, device = [*map(place, each.inputs)], dict(each.arguments), "cpu"
        if each.name == DECODER:
            device = "mixed"
            arguments |= next(decoder)
        elif each.name != "_Shape" and any(of == "gpu" for _, of, name in inputs if not name):
            device = "gpu"
        if device != "cpu":
            there |= {name for name, *_ in each.outputs}
        if each.name == "CropMirrorNormalize":
            arguments["dtype"] = int(types.FLOAT16)
        yield each._replace(
            device=device,
            inputs=inputs,
            outputs=[*map(place, each.outputs)],
            arguments=arguments,
        )


@pytest.mark.parametrize("load", [None, 0.5])
@pytest.mark.parametrize("name", LOADERS)
def test_the_operators_of_a_gpu_are_those_of_the_cpu(name, load, paired, asked):
    LOADERS[name](paired).close()
    ((batch, options),) = asked
    assert options.pop("device") == CPU and options.pop("hw_decoder_load") is None
    plain = define_pipeline(batch, device=CPU, **options)
    on_gpu = define_pipeline(batch, device=GPU, hw_decoder_load=load, **options)
    cpu, gpu = operators(plain), operators(on_gpu)

    assert {each.device for each in cpu} == {"cpu"}
    assert {DECODER, "Resize", "_Shape"} <= {each.name for each in cpu}
    fields = 2 if name == "textures of the file" else 1
    assert [each.name for each in cpu].count(DECODER) == fields
    told = {} if load is None else {"hw_decoder_load": load}
    sides = [(59, 60), (24, 32)][:fields]  # of the images, then of their textures
    hints = [{"preallocate_height_hint": h, "preallocate_width_hint": w} for h, w in sides]
    assert gpu == list(on_the_gpu(cpu, [told | hint for hint in hints]))

    # As much memory for each as the loader has images in a batch, and a second batch at a time.
    assert plain.max_batch_size == on_gpu.max_batch_size == batch == BATCH
    assert plain.prefetch_queue_depth == on_gpu.prefetch_queue_depth == 2
    # Every view is made where it is used, and only the decoded sizes come to the host.
    given = outputs(on_gpu)
    assert [name for name, _ in given] == [name for name, _ in outputs(plain)]
    assert [device for _, device in given] == ["cpu"] + ["gpu"] * (len(given) - 1) != ["cpu"]


def test_a_gpus_decoder_is_left_at_dalis_defaults_but_for_what_is_known(paired, asked):
    """No padding: numbers in circulation are for other images, and count for each thread."""
    TrainLoader(paired, BATCH, 32).close()
    ((batch, options),) = asked
    (decoder,) = (
        each
        for each in operators(define_pipeline(batch, **options | {"device": GPU}))
        if each.name == DECODER
    )
    assert set(decoder.arguments) == {
        *("output_type", "adjust_orientation"),
        *("preallocate_height_hint", "preallocate_width_hint"),
    }
    schema = backend.TryGetSchema(DECODER)
    default = lambda name: float(schema.GetArgumentDefaultValueString(name))
    assert default("hw_decoder_load") == pytest.approx(0.65)  # what our help says
    assert default("preallocate_width_hint") == default("preallocate_height_hint") == 0


def test_engines_are_a_gpus_alone():
    with pytest.raises(ValueError, match="only a GPU has JPEG engines"):
        define_pipeline(4, views=1, augment=False, device=CPU, threads=1, hw_decoder_load=0.5)
