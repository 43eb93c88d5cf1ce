"""Photos to a .beton file: sources, labels, images, the processes that do it."""
