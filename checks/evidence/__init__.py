"""What runs found, as files: written, loaded, validated and compared."""
