variable "app_password" {
  description = "Password of the application's user. Ephemeral: neither plan nor state has it."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "app_password_version" {
  description = "Count it up to send a new app_password."
  type        = number
  default     = 1
}
