"""The Terraform provider, served by the provider registry protocol."""
