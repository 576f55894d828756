provider "coffret" {
  default_labels = {
    team       = "orders"
    managed_by = "terraform"
  }
}

resource "coffret_instance" "orders" {
  name      = "orders-db"
  datastore = "postgresql"
  flavor    = "db.small"
  volume    = { size = 10 }

  labels = {
    service    = "orders"
    managed_by = null # without this default
  }
}
