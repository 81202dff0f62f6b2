"""What Holdfast costs beside bare PyTorch: ``python -m benchmarks`` prints the table."""
