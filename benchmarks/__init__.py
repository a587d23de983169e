"""How fast the verification is (``speed``), and how precise ``doctor --explain`` is (``explain``)."""
