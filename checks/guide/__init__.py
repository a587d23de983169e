"""Troubleshooting: the catalogue, its reproductions, the doctor, and the lookup by error text."""
