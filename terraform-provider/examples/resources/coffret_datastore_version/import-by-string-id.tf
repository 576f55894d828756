import {
  to = coffret_datastore_version.example
  id = "postgresql/18"
}
