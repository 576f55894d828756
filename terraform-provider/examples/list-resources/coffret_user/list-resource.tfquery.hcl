list "coffret_user" "all" {
  provider = coffret

  config {
    instance = "orders-db"
  }
}
