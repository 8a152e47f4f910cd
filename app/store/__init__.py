"""The truth: the database, one named function a query, and the blobs on disk."""
