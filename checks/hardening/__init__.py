"""Hardening: each flag alone, then all of them, with proof that it holds."""
