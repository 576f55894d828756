# Runs against a real control plane: makes one instance, adds and removes applications, destroys it.

variables {
  name                = "tested-shared"
  deletion_protection = false
  applications        = { shop = 1, blog = 1 }
  passwords = {
    shop = { owner = "only-for-this-test-1", reader = "only-for-this-test-2" }
    blog = { owner = "only-for-this-test-3", reader = "only-for-this-test-4" }
    wiki = { owner = "only-for-this-test-5", reader = "only-for-this-test-6" }
  }
}

run "each_application_gets_a_database_an_owner_and_a_reader" {
  assert {
    condition     = coffret_instance.this.ready
    error_message = "The instance is not ready: ${coffret_instance.this.message}"
  }
  assert {
    condition     = join(" ", keys(output.uris)) == "blog shop"
    error_message = "There are URIs for ${join(", ", keys(output.uris))}."
  }
  assert {
    condition     = endswith(output.uris["shop"].reader, "/shop") && strcontains(output.uris["shop"].reader, "//shop_reader@")
    error_message = "The reader's URI is ${output.uris["shop"].reader}."
  }
  assert {
    condition     = alltrue([for user in coffret_user.owner : length(user.grants) == 1 && user.ready])
    error_message = "An owner has more than its own database, or is not ready."
  }
}

run "applications_come_and_go_beside_each_other" {
  variables {
    applications = { shop = 2, wiki = 1 }
  }

  assert {
    condition     = output.instance_id == run.each_application_gets_a_database_an_owner_and_a_reader.instance_id
    error_message = "The instance was made anew."
  }
  assert {
    condition     = join(" ", keys(output.uris)) == "shop wiki"
    error_message = "There are URIs for ${join(", ", keys(output.uris))}."
  }
  assert {
    condition     = coffret_user.owner["shop"].password_wo_version == 2
    error_message = "The shop's passwords were not sent."
  }
}

run "wrong_values_are_refused_before_anything_is_made" {
  command = plan

  variables {
    name         = "Not A Name"
    applications = { "Not-One" = 1 }
  }

  expect_failures = [var.name, var.applications]
}
