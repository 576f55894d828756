"""Users inside instances, and their grants."""
