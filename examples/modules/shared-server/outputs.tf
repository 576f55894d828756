output "instance_id" {
  description = "The instance's id."
  value       = coffret_instance.this.id
}

output "uris" {
  description = "Connection URIs without passwords: uris[application].owner and .reader."
  value = {
    for name in keys(var.applications) : name => {
      owner  = coffret_user.owner[name].uris[name]
      reader = coffret_user.reader[name].uris[name]
    }
  }
}
