"""What people type: each task parses and makes one call. tasks.py collects them."""
