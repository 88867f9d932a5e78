"""Base models on this host, wherever their source is: a path, the hub or an S3 store."""
