resource "coffret_configuration_group" "this" {
  name        = "${var.name}-settings"
  datastore   = var.datastore
  version     = var.datastore_version
  description = "Settings of ${var.name}."
  parameters  = var.parameters
}

resource "coffret_instance" "this" {
  name                = var.name
  datastore           = var.datastore
  version             = var.datastore_version
  flavor              = var.flavor
  volume              = { size = var.volume_size }
  access              = { allowed_cidrs = var.allowed_cidrs }
  configuration_group = coffret_configuration_group.this.name
  restart_policy      = var.restart_policy
  deletion_protection = var.deletion_protection
  labels              = merge(var.labels, { application = var.name })
}

resource "coffret_database" "this" {
  for_each = var.databases

  instance = coffret_instance.this.name
  name     = each.key
}

resource "coffret_user" "this" {
  for_each = var.users

  instance            = coffret_instance.this.name
  name                = each.key
  password_wo         = var.passwords[each.key]
  password_wo_version = var.password_version

  grants = [
    for database, privileges in each.value : {
      database   = coffret_database.this[database].name
      privileges = privileges
    }
  ]
}
