"""What several test files use: data, runs, independent definitions, work for other processes."""
