"""The cases, one file a group of the report."""
