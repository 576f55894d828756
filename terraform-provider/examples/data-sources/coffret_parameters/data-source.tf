data "coffret_parameters" "example" {
  datastore = "postgresql"
  version   = "18"
}

output "need_a_restart" {
  value = [for parameter in data.coffret_parameters.example.parameters :
  parameter.name if parameter.settable && parameter.restart_required]
}
