output "instance_id" {
  description = "The instance's id."
  value       = coffret_instance.this.id
}

output "engine_version" {
  description = "What runs, in the engine's own words."
  value       = coffret_instance.this.engine_version
}

output "endpoint" {
  description = "Where clients connect: host and port."
  value       = { for part in ["host", "port"] : part => coffret_instance.this.endpoints[0][part] }
}

output "uris" {
  description = "Connection URIs without passwords: uris[user][database]."
  value       = { for name, user in coffret_user.this : name => user.uris }
}

output "restart_required" {
  description = "Whether settings wait for a restart."
  value       = coffret_instance.this.restart_required
}
