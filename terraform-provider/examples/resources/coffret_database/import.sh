terraform import coffret_database.example orders-db/orders
