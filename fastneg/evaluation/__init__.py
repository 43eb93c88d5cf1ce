"""What a frozen encoder has learned.

Linear probe, kNN, fine-tuning, test sets, corruptions, shape bias, similarities.
"""
