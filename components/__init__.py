"""The product: everything that a stack is made of."""
