"""What run folders tell: their JSON files, predictions and pictures, read as far as they can be."""
