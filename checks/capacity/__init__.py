"""How many agents fit on a host, and .wslconfig."""
