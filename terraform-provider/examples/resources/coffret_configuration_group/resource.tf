resource "coffret_configuration_group" "example" {
  name      = "orders-settings"
  datastore = "postgresql"
  version   = "18"

  # Checked against the catalogue: see the data source coffret_parameters.
  parameters = {
    max_connections = "200"
    work_mem        = "16MB"
  }

  lifecycle {
    create_before_destroy = true # detach instances before the group is deleted, in one apply
  }
}
