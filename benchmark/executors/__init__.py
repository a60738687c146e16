"""Carrying out a plan: on this machine (`local`) or on a Ray cluster (`ray`)."""
