"""The flags applied to an unmodified nanoclaw: by which way, installed how, and whether they are in force."""
