"""The objects of one bucket, in S3 or Google Cloud Storage, and the bucket itself where a stack owns one that no cloud provider manages."""
