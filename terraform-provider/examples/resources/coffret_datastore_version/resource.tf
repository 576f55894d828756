resource "coffret_datastore_version" "example" {
  datastore  = coffret_datastore.example.name
  name       = "18"
  image_tags = ["coffret", "postgresql-18", "postgis"]
  packages   = ["postgresql-18", "postgresql-18-postgis-3"]
}
