list "coffret_instance" "all" {
  provider = coffret
}
