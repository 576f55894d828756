# jdbc:postgresql://db.example.com:5432/orders?sslmode=require&user=app
output "url" {
  value = provider::coffret::jdbc_url(
    "postgresql", "db.example.com", 5432, "orders", "app", { sslmode = "require" },
  )
}
