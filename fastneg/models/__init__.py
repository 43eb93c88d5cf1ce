"""Networks: backbones, heads, batch normalisation, CUDA graphs, and weights in and out."""
