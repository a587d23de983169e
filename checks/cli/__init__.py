"""The tasks of invoke: each parses its options and makes one call. tasks.py collects them."""
