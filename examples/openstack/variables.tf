variable "cloud" {
  description = "Name of the cloud in clouds.yaml."
  type        = string
}

variable "network_id" {
  description = "Your network, such as openstack_networking_network_v2.app.id."
  type        = string
}

variable "allowed_cidrs" {
  description = "Who may connect to the database."
  type        = set(string)
}

variable "availability_zone" {
  description = "Where it shall run; null: anywhere."
  type        = string
  default     = null
}

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
