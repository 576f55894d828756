"""What is Coffret's own and PostgreSQL's own in every engine."""

ADMIN = "coffret_admin"
ADMIN_DATABASE = "postgres"
OWN_DATABASES = frozenset({"postgres", "template0", "template1"})
