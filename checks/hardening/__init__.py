"""Security flags: each alone and all together, enforced and compatible, and how they are installed."""
