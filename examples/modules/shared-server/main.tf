resource "coffret_instance" "this" {
  name                = var.name
  datastore           = "postgresql"
  version             = var.datastore_version
  flavor              = var.flavor
  volume              = { size = var.volume_size }
  access              = { allowed_cidrs = var.allowed_cidrs }
  deletion_protection = var.deletion_protection
  labels              = var.labels
}

resource "coffret_database" "application" {
  for_each = var.applications

  instance        = coffret_instance.this.name
  name            = each.key
  deletion_policy = "drop" # applications go one by one, while the server is protected
}

resource "coffret_user" "owner" {
  for_each = var.applications

  instance            = coffret_instance.this.name
  name                = "${each.key}_owner"
  password_wo         = var.passwords[each.key].owner
  password_wo_version = each.value
  grants              = [{ database = coffret_database.application[each.key].name, privileges = ["ALL"] }]
}

resource "coffret_user" "reader" {
  for_each = var.applications

  instance            = coffret_instance.this.name
  name                = "${each.key}_reader"
  password_wo         = var.passwords[each.key].reader
  password_wo_version = each.value
  grants              = [{ database = coffret_database.application[each.key].name, privileges = ["SELECT"] }]
}
