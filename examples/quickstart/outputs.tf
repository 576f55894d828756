output "app_uri" {
  description = "Where the application finds its orders; the password is not in it."
  value       = coffret_user.app.uris["orders"]
}

output "cache_uri" {
  description = "Where it finds its cache."
  value       = coffret_user.cache.uris["0"]
}
