"""A stand-in for NVIDIA's dcgm-exporter on machines without a GPU. It is copied into an image and imports nothing from this project."""
