"""Standings: what the tables show is computed when something is published, never per request."""
