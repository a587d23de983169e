"""The project's own tests: a minute at most, no host needed."""
