"""What stands between the cluster and Triton: metrics collection, GPU metrics, and custom metrics for the autoscaler."""
