"""Test sets: how the command line names them, how they lie on disk, how they are shown."""
