resource "coffret_instance" "example" {
  name                = "orders-db"
  datastore           = "postgresql"
  flavor              = data.coffret_flavor.small.name
  volume              = { size = 10 }
  configuration_group = coffret_configuration_group.example.name
  restart_policy      = "automatic"
  deletion_protection = true
  labels              = { service = "orders" }

  access = {
    allowed_cidrs = ["10.0.0.0/8"]
  }

  timeouts {
    create = "45m"
  }

  lifecycle {
    # What depends on it is made only when it is ready, even if the create timed out.
    postcondition {
      condition     = self.ready
      error_message = self.message
    }
  }
}
