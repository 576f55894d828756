import {
  to = coffret_datastore.example
  identity = {
    name = "postgresql"
  }
}
