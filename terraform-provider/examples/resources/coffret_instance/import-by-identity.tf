import {
  to = coffret_instance.example
  identity = {
    name = "orders-db"
  }
}
