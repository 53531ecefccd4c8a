"""Scans a folder of models: validates it and computes the contents of its release."""
