"""What lies in a run folder, and everything that reads or writes it."""
