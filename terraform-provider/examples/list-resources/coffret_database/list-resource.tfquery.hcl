list "coffret_database" "all" {
  provider = coffret

  config {
    instance = "orders-db"
  }
}
