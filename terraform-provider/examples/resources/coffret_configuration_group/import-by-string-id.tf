import {
  to = coffret_configuration_group.example
  id = "orders-settings"
}
