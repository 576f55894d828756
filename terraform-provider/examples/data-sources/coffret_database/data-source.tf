data "coffret_database" "example" {
  instance = "orders-db"
  name     = "orders"
}
