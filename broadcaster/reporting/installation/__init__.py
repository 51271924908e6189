"""What is in Redis, all in all: read for metrics, cheaply however much there is."""
