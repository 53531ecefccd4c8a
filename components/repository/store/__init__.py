"""Access to one S3 or Google Cloud Storage bucket: its objects and, if no Pulumi cloud provider manages it, the bucket itself."""
