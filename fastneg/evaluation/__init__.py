"""Evaluation of a frozen encoder.

Linear probe, kNN, fine-tuning, test sets, corruptions, shape bias, similarities.
"""
