"""Photographs to a .beton file.

The call:
    encode          what one call does, in order; `anywhere`: the same from URLs and to URLs
    job             what it has decided before the first image; the facts for the .json
    pass_through    our writer: JPEG bytes untouched where they can be
    ffcv            FFCV's writer, in the process of `ffcv_process`
    samples         JPEGs that a program makes
What there is to encode:
    sources         whatever SRC names: names, labels and places of the images
    folders         a folder as it lies on disk: what can be read and what cannot
    class_folders   which folders of a tree are classes
    archives        tar archives and WebDataset shards; `companions`: the labels in them
    lists           .csv, .txt, .json: names and labels; `list_rows`: the file cut into rows;
                    `list_columns`: which column is what; `list_files`: where the images lie
    label_texts     labels that are texts: numbers or names?
One image:
    prepare         untouched, or encoded again
    paired          its texture from a folder beside
    textures        its texture made from it; `fastneg textures`
Guards:
    outputs         no output is an input
    preflight       what would fail at the end fails at the start
    holdout         which images go into the second file
"""
