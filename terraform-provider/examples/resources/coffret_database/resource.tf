resource "coffret_database" "example" {
  instance      = coffret_instance.example.id
  name          = "orders"
  character_set = "UTF8"
}
