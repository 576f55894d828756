terraform {
  required_version = ">= 1.11" # write-only attributes

  required_providers {
    coffret = {
      source  = "registry.terraform.io/coffret/coffret"
      version = "~> 0.1"
    }
  }
}

# Credentials are those of the cloud in clouds.yaml, the endpoint is the catalogue's (type `database`).
provider "coffret" {
  cloud = var.cloud
}
