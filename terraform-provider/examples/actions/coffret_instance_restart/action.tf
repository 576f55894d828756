action "coffret_instance_restart" "orders" {
  config {
    instance = "orders-db"
  }
}

# Whenever an apply has changed the parameters, the instance is restarted, once, and they all take effect.
resource "coffret_configuration_group" "orders" {
  name       = "orders-settings"
  datastore  = "postgresql"
  parameters = { max_connections = "200" }

  lifecycle {
    action_trigger {
      events  = [after_update]
      actions = [action.coffret_instance_restart.orders]
    }
  }
}

resource "coffret_instance" "orders" {
  name                = "orders-db"
  datastore           = "postgresql"
  flavor              = "db.small"
  volume              = { size = 10 }
  configuration_group = coffret_configuration_group.orders.name
}

# By hand:
#
#   terraform apply -invoke=action.coffret_instance_restart.orders
