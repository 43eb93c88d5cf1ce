"""One self-contained HTML page about one or more runs, and its plots and tables as files.

- run_folder, rows, predictions: what a run folder tells
- entries: runs that differ in their seed alone stand as one, with mean and standard deviation
- blocks: sections, plots and tables, of which page and files are made
- results, alpha, shape_or_texture and the like: the sections, a file each
- plots/: the figures
- page, exports: HTML; SVG, PNG, CSV and LaTeX
"""
