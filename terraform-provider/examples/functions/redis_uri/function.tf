# redis://app@[2001:db8::5]:6379/0
output "uri" {
  value = provider::coffret::redis_uri("2001:db8::5", 6379, "0", "app", null)
}
