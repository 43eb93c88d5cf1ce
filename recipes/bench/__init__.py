"""Benchmarks, one file each, with their contenders."""
