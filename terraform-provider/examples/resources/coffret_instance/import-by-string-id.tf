import {
  to = coffret_instance.example
  id = "orders-db"
}
