data "coffret_flavors" "example" {
  min_vcpus = 2
}

output "flavors" {
  value = data.coffret_flavors.example.flavors[*].name
}
