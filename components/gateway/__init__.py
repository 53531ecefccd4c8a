"""The gateway in front of Triton."""
