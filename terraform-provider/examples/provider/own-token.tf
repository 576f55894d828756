provider "coffret" {
  endpoint = "http://127.0.0.1:8779"
  token    = var.coffret_token
}

variable "coffret_token" {
  type      = string
  sensitive = true
}
