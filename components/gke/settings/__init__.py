"""Settings of a GKE cluster."""
