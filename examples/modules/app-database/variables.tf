variable "name" {
  description = "The application; its instance and configuration group are named after it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,39}$", var.name))
    error_message = "Start with a lower-case letter; go on with lower-case letters, digits or '-', 40 at most."
  }
}

variable "datastore" {
  description = "The engine: postgresql or mariadb."
  type        = string
  default     = "postgresql"

  validation {
    condition     = contains(["postgresql", "mariadb"], var.datastore)
    error_message = "Choose postgresql or mariadb; others have no named databases."
  }
}

variable "datastore_version" {
  description = "Version of the engine or the beginning of one, such as \"18\". Null: the default one."
  type        = string
  default     = null
}

variable "flavor" {
  description = "Memory and CPU of the instance."
  type        = string
  default     = "db.small"
}

variable "volume_size" {
  description = "Size of the data volume in GiB. It grows in place and never shrinks."
  type        = number
  default     = 1

  validation {
    condition     = var.volume_size >= 1 && floor(var.volume_size) == var.volume_size
    error_message = "Give whole GiB, at least 1."
  }
}

variable "allowed_cidrs" {
  description = "Networks that may connect. Empty: nobody. Null: whoever is on the network."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for cidr in coalesce(var.allowed_cidrs, []) : can(cidrhost(cidr, 0))])
    error_message = "Each is a CIDR such as 192.0.2.0/24 or 2001:db8::/32."
  }
}

variable "parameters" {
  description = "Settings of the engine by name. What is not named has the engine's default."
  type        = map(string)
  default     = {}
}

variable "restart_policy" {
  description = "What to do when a setting needs a restart: automatic, or manual to leave it pending."
  type        = string
  default     = "manual"

  validation {
    condition     = contains(["automatic", "manual"], var.restart_policy)
    error_message = "Choose automatic or manual."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete the instance while true."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Labels of the instance, besides application."
  type        = map(string)
  default     = {}
}

variable "databases" {
  description = "Names of the databases."
  type        = set(string)

  validation {
    condition     = length(var.databases) > 0
    error_message = "An application has at least one database."
  }
}

variable "users" {
  description = "The users by name, each with its privileges by database. Passwords are in var.passwords."
  type        = map(map(set(string)))

  validation {
    condition     = alltrue([for grants in values(var.users) : length(setsubtract(keys(grants), var.databases)) == 0])
    error_message = "A user has privileges on a database that is not in databases."
  }
}

variable "passwords" {
  description = "The users' passwords by name. Ephemeral: neither plan nor state has them."
  type        = map(string)
  sensitive   = true
  ephemeral   = true
}

variable "password_version" {
  description = "Count it up to send new passwords."
  type        = number
  default     = 1
}
