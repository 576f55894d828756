data "coffret_configuration_group" "example" {
  name = "orders-settings"
}
