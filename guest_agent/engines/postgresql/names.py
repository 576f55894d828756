"""What is Coffret's own and PostgreSQL's own in every engine."""

ADMIN = "coffret_admin"
HEIR = "coffret_heir"
"""Owns what users leave in databases that are nobody's: never the superuser, as whom functions, views and
indexes of theirs would run then."""
ADMIN_DATABASE = "postgres"
OWN_DATABASES = frozenset({"postgres", "template0", "template1"})
