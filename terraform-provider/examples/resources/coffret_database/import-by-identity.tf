import {
  to = coffret_database.example
  identity = {
    instance = "orders-db"
    name     = "orders"
  }
}
