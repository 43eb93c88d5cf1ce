"""One self-contained HTML page about one or more runs, and its plots and tables as files.


- entries: runs that differ in their seed alone stand as one, with mean and standard deviation;
  likeness: which figures may be compared
- blocks: what sections are made of: plots, tables, pictures, of which page and files are made
- sections/: results, alpha, shape or texture and the like, a file each; plots/: their figures
- page, templates/, exports: HTML; SVG, PNG, CSV and LaTeX
"""
