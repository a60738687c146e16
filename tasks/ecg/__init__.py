"""The ecg tasks."""
