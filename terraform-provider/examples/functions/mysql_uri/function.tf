# mysql://app:p%40ss@db.example.com:3306/orders?charset=utf8mb4
output "uri" {
  value = provider::coffret::mysql_uri(
    "db.example.com", 3306, "orders", "app", { charset = "utf8mb4" }, var.password,
  )
  sensitive = true
}
