"""Configuration groups: parameter values that many instances share."""
