"""The .beton file: FFCV's format version 2, read, written and checked."""
