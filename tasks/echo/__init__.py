"""The echo tasks."""
