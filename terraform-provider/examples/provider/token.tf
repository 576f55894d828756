provider "coffret" {
  auth_url = "https://keystone.example.com:5000/v3"
  region   = "RegionOne"
  token    = var.keystone_token
}

variable "keystone_token" {
  type      = string
  sensitive = true
}
