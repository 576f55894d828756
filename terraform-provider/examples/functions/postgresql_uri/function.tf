# postgresql://app@10.0.0.5:5432/orders?sslmode=prefer
output "uri" {
  value = provider::coffret::postgresql_uri(
    coffret_instance.orders.endpoints[0].host,
    coffret_instance.orders.endpoints[0].port,
    coffret_database.orders.name,
    coffret_user.app.name,
    { sslmode = "prefer" },
  )
}
