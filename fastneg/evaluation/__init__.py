"""What a frozen encoder has learned: linear probe, kNN, test sets, corruptions, shape bias,
report."""
