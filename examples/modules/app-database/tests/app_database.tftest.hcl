# Runs against a real control plane: makes one instance, changes it in place, destroys it.

variables {
  name                = "tested-app"
  deletion_protection = false
  restart_policy      = "automatic"
  parameters          = { max_connections = "40" }
  databases           = ["orders", "reports"]
  users = {
    app     = { orders = ["ALL"] }
    analyst = { orders = ["CONNECT", "SELECT"], reports = ["ALL"] }
  }
  passwords = { app = "only-for-this-test-1", analyst = "only-for-this-test-2" }
}

run "an_application_gets_its_databases_and_users" {
  assert {
    condition     = coffret_instance.this.ready
    error_message = "The instance is not ready: ${coffret_instance.this.message}"
  }
  assert {
    condition     = join(" ", keys(output.uris["analyst"])) == "orders reports"
    error_message = "The analyst has URIs for ${join(", ", keys(output.uris["analyst"]))}."
  }
  assert {
    condition     = output.uris["app"]["orders"] == "postgresql://app@${output.endpoint.host}:${output.endpoint.port}/orders"
    error_message = "The application's URI is ${output.uris["app"]["orders"]}."
  }
  assert {
    condition     = startswith(output.engine_version, "18")
    error_message = "The engine's version is ${output.engine_version}."
  }
}

run "settings_databases_and_labels_change_in_place" {
  variables {
    parameters = { max_connections = "60", work_mem = "8192" }
    databases  = ["orders", "reports", "archive"]
    labels     = { team = "sales" }
    users      = { app = { orders = ["ALL"], archive = ["ALL"] } }
  }

  assert {
    condition     = output.instance_id == run.an_application_gets_its_databases_and_users.instance_id
    error_message = "The instance was made anew."
  }
  assert {
    condition     = !output.restart_required
    error_message = "max_connections waits for a restart although restart_policy is automatic."
  }
  assert {
    condition     = join(" ", keys(output.uris)) == "app" && contains(keys(output.uris["app"]), "archive")
    error_message = "The users and their databases are ${jsonencode(output.uris)}."
  }
}

run "wrong_values_are_refused_before_anything_is_made" {
  command = plan

  variables {
    name          = "Not A Name"
    datastore     = "valkey"
    volume_size   = 0.5
    allowed_cidrs = ["everyone"]
    users         = { app = { nowhere = ["ALL"] } }
  }

  expect_failures = [var.name, var.datastore, var.volume_size, var.allowed_cidrs, var.users]
}
