resource "coffret_database" "orders" {
  instance = "orders-db"
  name     = "orders"
}

ephemeral "coffret_user" "migration" {
  instance    = coffret_database.orders.instance
  name_prefix = "migration_"
  grants      = [{ database = coffret_database.orders.id, privileges = ["ALL"] }]
}

resource "terraform_data" "schema" {
  triggers_replace = 1 # another number runs it again

  provisioner "local-exec" {
    command     = "psql --set ON_ERROR_STOP=1 --file schema.sql \"$URI\""
    environment = { URI = ephemeral.coffret_user.migration.uris["orders"] }
  }
}
