variable "name" {
  description = "The instance."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,39}$", var.name))
    error_message = "Start with a lower-case letter; go on with lower-case letters, digits or '-', 40 at most."
  }
}

variable "datastore_version" {
  description = "Version of PostgreSQL or the beginning of one, such as \"18\". Null: the default one."
  type        = string
  default     = null
}

variable "flavor" {
  description = "Memory and CPU, which all applications share."
  type        = string
  default     = "db.small"
}

variable "volume_size" {
  description = "Size of the data volume in GiB, which they share too. It grows in place and never shrinks."
  type        = number
  default     = 1
}

variable "allowed_cidrs" {
  description = "Networks that may connect. Empty: nobody. Null: whoever is on the network."
  type        = set(string)
  default     = null
}

variable "deletion_protection" {
  description = "Refuse to delete the instance while true."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Labels of the instance."
  type        = map(string)
  default     = {}
}

variable "applications" {
  description = "Each application's password version by its name: count it up to send new passwords."
  type        = map(number)

  validation {
    condition     = alltrue([for name in keys(var.applications) : can(regex("^[a-z][a-z0-9_]{0,39}$", name))])
    error_message = "Start with a lower-case letter; go on with lower-case letters, digits or '_', 40 at most."
  }
}

variable "passwords" {
  description = "Passwords by application and role: passwords[application].owner and .reader. Ephemeral."
  type        = map(object({ owner = string, reader = string }))
  sensitive   = true
  ephemeral   = true
}
