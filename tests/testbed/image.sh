#!/usr/bin/env bash
# Build db-guest, a Debian 12 image with PostgreSQL and MariaDB for the emulated zone, and register it in Glance.
# It will become the guest image of `make guest-image`, with Coffret's agent inside.
set -euo pipefail

# Mounts of a namespace of its own go with it, however this ends; loop devices of -o loop go with the mounts.
[ "${1:-}" = in-namespace ] || exec unshare --mount "$0" in-namespace

state=${TESTBED_STATE:-/var/tmp/coffret-testbed}
folder=$state/image
root=$folder/root
raw=$folder/guest.raw
image=$folder/guest.qcow2
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive

packages=(
    systemd systemd-sysv udev dbus linux-image-cloud-amd64 initramfs-tools lz4 extlinux
    cloud-init cloud-guest-utils openssh-server iproute2 netbase ifupdown isc-dhcp-client
    ca-certificates e2fsprogs procps python3 python3-pymysql python3-psycopg2
    mariadb-server postgresql
)
# The emulated machine's disks, and the CD-ROM that is its config drive.
modules=(virtio_pci virtio_blk virtio_scsi virtio_net ext4 sd_mod ata_piix sr_mod isofs)
# What only costs time under emulation, and MariaDB's sockets, which would start it on the folder it came with.
masked=(
    mariadb.socket mariadb-extra.socket
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    man-db.timer logrotate.timer apparmor.service getty@tty1.service modprobe@drm.service cloud-init-hotplugd.socket
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-pcrphase.service systemd-rfkill.service
    systemd-timesyncd.service systemd-update-utmp.service systemd-networkd-wait-online.service
)

say() { printf 'testbed: image: [%3d s] %s\n' "$SECONDS" "$*"; }

make_disk() {
    mkdir -p "$root"
    rm -f "$raw"
    truncate --size=3G "$raw"
    printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk --quiet "$raw"
    dd if=/usr/lib/EXTLINUX/mbr.bin of="$raw" conv=notrunc bs=440 count=1 status=none
    # extlinux cannot read 64bit and metadata_csum
    mkfs.ext4 -q -F -E offset=1048576 -O ^64bit,^metadata_csum -L root "$raw" 3071M
    mount -o loop,offset=1048576 "$raw" "$root"
}

install_packages() {
    local mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
    mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
        --dpkgopt='path-exclude=/usr/share/{doc,info,man,locale}/*' --dpkgopt=force-unsafe-io \
        --aptopt='Acquire::Check-Valid-Until false' \
        --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
        --essential-hook='printf "MODULES=list\nCOMPRESS=lz4\n" >"$1/etc/initramfs-tools/conf.d/guest"' \
        bookworm - "$mirror" | tar --extract --directory="$root"
}

configure() {
    local uuid kernel unit
    uuid=$(blkid --match-tag UUID --output value "$(findmnt --noheadings --output SOURCE "$root")")
    echo "UUID=$uuid / ext4 defaults,noatime 0 1" >"$root/etc/fstab"
    echo guest >"$root/etc/hostname"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    printf '%s\n' "${modules[@]}" >>"$root/etc/initramfs-tools/modules"
    for unit in "${masked[@]}"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
    chroot "$root" systemctl --quiet disable mariadb.service postgresql.service
    # An emulated guest is slow, not broken.
    mkdir -p "$root/etc/systemd/system.conf.d"
    printf '[Manager]\nDefaultTimeoutStartSec=900s\nDefaultDeviceTimeoutSec=600s\n' \
        >"$root/etc/systemd/system.conf.d/guest.conf"
    # RSA host keys and growing the root disk would cost a minute.
    cat >"$root/etc/cloud/cloud.cfg.d/99-guest.cfg" <<'CONFIG'
datasource_list: [ConfigDrive, None]
datasource: {ConfigDrive: {dsmode: local}}
manage_etc_hosts: true
growpart: {mode: 'off'}
resize_rootfs: false
ssh_genkeytypes: [ed25519]
cloud_init_modules: [seed_random, bootcmd, write-files, set_hostname, update_etc_hosts, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user, final-message]
CONFIG
    mount --bind /dev "$root/dev"
    mount --bind /proc "$root/proc"
    mount --bind /sys "$root/sys"
    chroot "$root" update-initramfs -u -k all >/dev/null
    kernel=$(basename "$root"/boot/vmlinuz-*)
    mkdir -p "$root/boot/extlinux"
    cat >"$root/boot/extlinux/extlinux.conf" <<CONFIG
default guest
prompt 0
timeout 0
label guest
 kernel /boot/$kernel
 initrd /boot/${kernel/vmlinuz/initrd.img}
 append root=UUID=$uuid ro console=ttyS0 net.ifnames=0 mitigations=off audit=0 apparmor=0 tsc=unstable no_timer_check rootwait quiet
CONFIG
    extlinux --install "$root/boot/extlinux" 2>/dev/null
    chroot "$root" python3 -m compileall -q /usr/lib/python3/dist-packages /usr/lib/python3.11 >/dev/null || true
    rm -rf "$root/etc/machine-id" "$root"/etc/ssh/ssh_host_* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
    touch "$root/etc/machine-id"
}

# Without the syncs qemu-img has seen holes where data was still unwritten, and the image lost its last files.
convert() {
    sync --file-system "$root"
    umount --recursive "$root"
    sync "$raw"
    qemu-img convert -O qcow2 "$raw" "$image.new"
    mv "$image.new" "$image"
    rm "$raw"
}

make_disk
say "installing ${#packages[@]} packages and what they need"
install_packages
say "configuring"
configure
convert
say "registering $(du --human-readable "$image" | cut -f1) as db-guest"
openstack() { OS_CLIENT_CONFIG_FILE=$state/clouds.yaml command openstack --os-cloud lab-admin "$@"; }
for old in $(openstack image list --name db-guest --format value --column ID); do openstack image delete "$old"; done
openstack image create db-guest --public --disk-format qcow2 --file "$image" \
    --property hw_disk_bus=virtio --property hw_vif_model=virtio --property hw_rng_model=virtio >/dev/null
say "done"
