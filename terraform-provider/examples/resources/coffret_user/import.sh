terraform import coffret_user.example orders-db/app
