provider "coffret" {
  auth_url                      = "https://keystone.example.com:5000/v3"
  region                        = "RegionOne"
  application_credential_id     = "3e4f0c3bb19a4a9ca3c2b1f0bb4fe3ea"
  application_credential_secret = var.application_credential_secret
}

variable "application_credential_secret" {
  type      = string
  sensitive = true
}
