"""What goes wrong and how it is mended: the catalogue, the document rendered from it, the look-up by error text."""
