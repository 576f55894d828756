list "coffret_datastore" "all" {
  provider = coffret
}
