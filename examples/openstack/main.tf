# A PostgreSQL instance on your network with a public address, its settings, a database and a user.

# The smallest flavor with a gigabyte, and at least half as much memory for each CPU.
data "coffret_flavors" "fitting" {
  min_ram             = 1024 # MiB
  min_memory_per_vcpu = 512
}

resource "coffret_configuration_group" "orders" {
  name       = "orders-settings"
  datastore  = "postgresql"
  parameters = { work_mem = "8192" } # kB
}

resource "coffret_instance" "orders" {
  name                = "orders-db"
  datastore           = "postgresql"
  flavor              = data.coffret_flavors.fitting.flavors[0].name
  volume              = { size = 1 } # GiB
  network             = { network_id = var.network_id }
  access              = { is_public = true, allowed_cidrs = var.allowed_cidrs }
  availability_zone   = var.availability_zone
  configuration_group = coffret_configuration_group.orders.name
  restart_policy      = "automatic"
}

resource "coffret_database" "orders" {
  instance = coffret_instance.orders.name
  name     = "orders"
}

resource "coffret_user" "app" {
  instance            = coffret_instance.orders.name
  name                = "app"
  password_wo         = var.app_password
  password_wo_version = var.app_password_version
  grants              = [{ database = coffret_database.orders.name, privileges = ["ALL"] }]
}
