list "coffret_datastore_version" "all" {
  provider = coffret

  config {
    datastore = "postgresql"
  }
}
