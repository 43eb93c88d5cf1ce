"""One self-contained HTML page about one or more runs, and its plots and tables as files.

- page: runs read, sections made, the page written; templates/: its HTML
- entries: runs that differ in their seed alone stand as one, with mean and standard deviation
- likeness: which figures may be compared; intervals: which are told apart; remarks: what they hide
- blocks: what sections are made of: plots, tables, pictures
- sections/: results, alpha, shape or texture and the like, a file each; plots/: their figures
- exports: plots as SVG and PNG, tables as CSV and LaTeX
"""
