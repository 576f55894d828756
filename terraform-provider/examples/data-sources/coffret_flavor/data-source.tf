# The smallest with at least 2 GiB, all of it for one vCPU.
data "coffret_flavor" "small" {
  min_ram             = 2048
  min_memory_per_vcpu = 2048
}
