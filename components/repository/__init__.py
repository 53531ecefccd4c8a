"""Model releases: a folder of models, checked, in an object store."""
