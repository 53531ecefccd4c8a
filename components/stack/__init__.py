"""The stack file as a whole."""
