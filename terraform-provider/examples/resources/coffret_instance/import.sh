terraform import coffret_instance.example orders-db
