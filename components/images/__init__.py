"""Container images that the stack builds or mirrors."""
