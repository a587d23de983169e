"""How many agents a host can run at once: measured on a real one, and held against the formula for .wslconfig."""
