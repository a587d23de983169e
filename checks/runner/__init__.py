"""invoke verify: selecting cases, running them with pytest, the report, and cleaning up."""
