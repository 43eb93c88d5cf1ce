"""The report's figures: each function takes a Style and data and returns a matplotlib Figure.

An entry's number chooses its colour.
"""
