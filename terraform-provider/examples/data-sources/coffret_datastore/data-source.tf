data "coffret_datastore" "example" {
  name = "postgresql"
}
