"""Settings of an EKS cluster."""
