"""Runs that are broken off in the middle, on purpose: what they say, how they end, and what they leave behind."""
