# A PostgreSQL instance with its settings, two databases and a user; and a Valkey instance beside it.

resource "coffret_configuration_group" "orders" {
  name        = "orders-settings"
  datastore   = "postgresql"
  description = "What all instances of the orders service share."

  parameters = {
    max_connections            = "50"
    work_mem                   = "8192" # kB
    log_min_duration_statement = "250"  # ms
  }
}

resource "coffret_instance" "orders" {
  name                = "orders-db"
  datastore           = "postgresql"
  flavor              = "db.small"
  volume              = { size = 1 } # GiB
  configuration_group = coffret_configuration_group.orders.name
  restart_policy      = "automatic"
  labels              = { service = "orders" }
}

resource "coffret_database" "orders" {
  instance = coffret_instance.orders.name
  name     = "orders"
}

resource "coffret_database" "billing" {
  instance = coffret_instance.orders.name
  name     = "billing"
}

resource "coffret_user" "app" {
  instance            = coffret_instance.orders.name
  name                = "app"
  password_wo         = var.app_password
  password_wo_version = var.app_password_version

  grants = [
    { database = coffret_database.orders.name, privileges = ["ALL"] },
    { database = coffret_database.billing.name, privileges = ["CONNECT", "SELECT"] },
  ]
}

resource "coffret_instance" "cache" {
  name      = "cache"
  datastore = "valkey"
  flavor    = "db.tiny"
  volume    = { size = 1 }
  labels    = { service = "orders" }
}

resource "coffret_user" "cache" {
  instance            = coffret_instance.cache.name
  name                = "app"
  password_wo         = var.app_password
  password_wo_version = var.app_password_version
  grants              = [{ privileges = ["+@read", "+@write", "+@connection"], keys = ["app:*"] }]
}
