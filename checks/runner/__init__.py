"""``invoke verify``: selection of cases, the run with pytest, the report, cleanup."""
