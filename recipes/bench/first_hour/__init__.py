"""The first hour on a new GPU: the files of this folder, in reading order.

stages.py the stages, in order of worth · options.py what the command is told · run.py runs each in
a process of its own · work.py is that process · rows.py the file that all append to · the stages
themselves (ceilings, kernel_tests, losses, kernels, steps, loader, road) · goals.py and page.py
what is made of the rows.
"""
