"""Generates the Terraform provider's declarations from the control plane's OpenAPI document."""
