"""Events: what happened, in sentences."""
