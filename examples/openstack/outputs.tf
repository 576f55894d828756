output "app_uri" {
  description = "Where the application finds its orders; the password is not in it."
  value       = coffret_user.app.uris["orders"]
}
