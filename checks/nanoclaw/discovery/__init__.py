"""Which docker commands a nanoclaw checkout runs, read from its sources, and which case covers each."""
