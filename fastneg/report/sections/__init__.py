"""The sections of the page, a file each.

A function takes the entries and returns a blocks.Section, or None where there is nothing to show.
"""
