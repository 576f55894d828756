list "coffret_configuration_group" "all" {
  provider = coffret
}
