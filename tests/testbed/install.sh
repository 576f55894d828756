#!/usr/bin/env bash
# Install what the test bed runs, from Debian 12's own packages. Cheap when all is there.
set -euo pipefail

packages=(
    mariadb-server mariadb-client rabbitmq-server memcached
    uwsgi-core uwsgi-plugin-python3 python3-pymysql python3-memcache python3-openstackclient
    keystone glance-api placement-api python3-osc-placement
    nova-api nova-conductor nova-scheduler nova-consoleproxy- # a dash: only recommended, and not wanted
    neutron-server neutron-linuxbridge-agent neutron-dhcp-agent neutron-l3-agent
    dnsmasq-base dnsmasq-utils ebtables ipset iptables iproute2
    cinder-api cinder-scheduler cinder-volume ceph-mon ceph-mgr ceph-osd ceph-common python3-rbd
    # nova-compute-qemu would bring every emulator, and libvirtd probes them all at its first start (54 s).
    nova-compute nova-compute-kvm genisoimage
    libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils qemu-block-extra
    # for make guest-image
    mmdebstrap arch-test e2fsprogs extlinux syslinux-common fdisk
)

missing=()
for package in "${packages[@]}"; do
    case $package in *-) continue ;; esac
    dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "testbed: installing ${#missing[@]} packages and what they need (4 minutes or so, 2.5 GB)"
# The packages must not start services: the test bed starts its own.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io "${packages[@]}" >/dev/null
