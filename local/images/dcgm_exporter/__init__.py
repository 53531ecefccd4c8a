"""A program that stands in for NVIDIA's dcgm-exporter where there is no GPU; it goes into an image as it is and imports nothing of ours."""
