"""What is served: arrays and JSON that score and explain a row."""
