"""The HTTP server for predictions and labels."""
