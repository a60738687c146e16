"""What a run would do and how long it would take, from what earlier runs measured."""
