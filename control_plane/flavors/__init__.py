"""Flavors: the memory and CPU of an instance."""
