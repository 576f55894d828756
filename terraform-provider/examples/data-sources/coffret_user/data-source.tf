data "coffret_user" "example" {
  instance = "orders-db"
  name     = "app"
}
