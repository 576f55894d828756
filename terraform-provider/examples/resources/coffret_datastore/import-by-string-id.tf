import {
  to = coffret_datastore.example
  id = "postgresql"
}
