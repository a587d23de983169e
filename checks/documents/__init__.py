"""Every renderer of a document."""
