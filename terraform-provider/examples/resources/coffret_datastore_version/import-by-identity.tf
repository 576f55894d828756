import {
  to = coffret_datastore_version.example
  identity = {
    datastore = "postgresql"
    name      = "18"
  }
}
