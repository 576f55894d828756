terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    coffret = {
      source  = "registry.terraform.io/coffret/coffret"
      version = "~> 0.1"
    }
  }
}
