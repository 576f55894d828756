resource "coffret_user" "example" {
  instance            = coffret_instance.example.id
  name                = "app"
  password_wo         = var.app_password
  password_wo_version = 1 # count it up with each new password

  grants = [
    { database = coffret_database.example.name, privileges = ["ALL"] },
  ]
}

variable "app_password" {
  type      = string
  sensitive = true
  ephemeral = true
}
