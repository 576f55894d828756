import {
  to = coffret_user.example
  id = "orders-db/app"
}
