"""How fast the verification is, in ratios from one run: ``python -m benchmarks.speed --help``."""
