terraform {
  required_providers {
    coffret = {
      source = "coffret/coffret"
    }
  }
}

# Left out, they come from COFFRET_ENDPOINT and COFFRET_TOKEN.
provider "coffret" {
  endpoint = "http://127.0.0.1:8779"
  token    = var.coffret_token
}

variable "coffret_token" {
  type      = string
  sensitive = true
}
