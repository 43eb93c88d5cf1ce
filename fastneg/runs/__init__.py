"""The run folder: everything that reads or writes it."""
