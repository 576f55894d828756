import {
  to = coffret_user.example
  identity = {
    instance = "orders-db"
    name     = "app"
  }
}
