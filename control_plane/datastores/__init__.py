"""Datastores, their versions and the parameter catalogues."""
