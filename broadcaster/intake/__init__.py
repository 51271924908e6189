"""A list becomes batches."""
