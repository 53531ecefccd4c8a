"""GPUs: the catalogue, sharing, device plugin, metrics, overprovisioning."""
