"""Trust: the cases against a docker that misbehaves."""
