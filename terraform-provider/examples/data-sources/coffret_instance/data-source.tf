data "coffret_instance" "example" {
  name = "orders-db"
}

output "endpoint" {
  value = data.coffret_instance.example.endpoints[0].uri
}
