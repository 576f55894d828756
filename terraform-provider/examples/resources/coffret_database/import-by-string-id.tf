import {
  to = coffret_database.example
  id = "orders-db/orders"
}
