# After the operator has registered a newer guest image:
#
#   terraform apply -invoke=action.coffret_instance_rebuild.orders
action "coffret_instance_rebuild" "orders" {
  config {
    instance = "orders-db"

    timeouts {
      invoke = "1h"
    }
  }
}
