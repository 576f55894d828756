resource "coffret_datastore" "example" {
  name        = "postgresql-gis"
  manager     = "postgresql"
  description = "PostgreSQL with PostGIS"
}
