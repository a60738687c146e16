"""The astronomy tasks."""
