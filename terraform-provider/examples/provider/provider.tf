terraform {
  required_providers {
    coffret = {
      source = "coffret/coffret"
    }
  }
}

# A cloud of clouds.yaml. Left out, OS_CLOUD or the other OS_* variables say how to log in.
provider "coffret" {
  cloud = "production"
}
