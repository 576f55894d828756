data "coffret_datastore_version" "example" {
  datastore = "postgresql"
  name      = "18"
}
