import {
  to = coffret_configuration_group.example
  identity = {
    name = "orders-settings"
  }
}
