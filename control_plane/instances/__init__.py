"""Instances: what is wanted, what is seen, and the loop that makes them equal."""
