"""The verification on many hosts, expected failures, and the comparison of two runs."""
