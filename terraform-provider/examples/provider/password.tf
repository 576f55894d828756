provider "coffret" {
  auth_url         = "https://keystone.example.com:5000/v3"
  region           = "RegionOne"
  user_name        = "orders"
  user_domain_name = "Default"
  password         = var.password
  tenant_name      = "orders"
}

variable "password" {
  type      = string
  sensitive = true
}
