#!/usr/bin/env bash
# Build the guest image: Debian 12 with Coffret's agent, PostgreSQL 15 and MariaDB 10.11. docs/operators/guest-image.md
# says what is in it and how it is registered. Needs root, and a python with pip on PATH.
#
# It leaves in $GUEST_IMAGE_DIR: guest.qcow2, packages.txt, and for each datastore version its catalogue.
set -euo pipefail

# Mounts of a namespace of its own go with it, however this ends; loop devices of -o loop go with the mounts.
if [ "$(id -u)" != 0 ]; then
    echo "guest-image: FAILED: it mounts and makes a file system of Debian: run it as root" >&2
    exit 1
fi
[ "${1:-}" = in-namespace ] || exec unshare --mount "$0" in-namespace

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
folder=${GUEST_IMAGE_DIR:-$source/build/guest-image}
root=$folder/root
raw=$folder/guest.raw
image=$folder/guest.qcow2
export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive

# manager and version; an image with these names as tags has them.
engines=("postgresql 15" "mariadb 10.11")
packages=(
    systemd systemd-sysv udev dbus linux-image-cloud-amd64 initramfs-tools lz4 extlinux
    cloud-init iproute2 netbase ifupdown isc-dhcp-client chrony
    ca-certificates e2fsprogs procps python3
    mariadb-server postgresql
)
# Disks of virtio, IDE, SATA and SCSI, and the CD-ROM that is the config drive.
modules=(virtio_pci virtio_blk virtio_scsi virtio_net ext4 sd_mod ata_piix ahci sr_mod isofs)
# The engines are the agent's; the rest only costs time in a guest that is never logged in to.
masked=(
    mariadb.service mariadb.socket mariadb-extra.socket postgresql.service postgresql@.service
    cloud-config.service cloud-final.service cloud-init-hotplugd.socket
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    man-db.timer logrotate.timer getty@tty1.service serial-getty@ttyS0.service
    modprobe@{configfs,dm_mod,drm,efi_pstore,fuse,loop}.service
    dev-hugepages.mount dev-mqueue.mount sys-{fs-fuse-connections,kernel-config,kernel-debug,kernel-tracing}.mount
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service systemd-pcrphase.service systemd-rfkill.service
    systemd-timesyncd.service systemd-update-utmp.service systemd-networkd-wait-online.service
)

say() { printf 'guest-image: [%3d s] %s\n' "$SECONDS" "$*"; }

check_machine() {
    local program missing=()
    for program in mmdebstrap extlinux sfdisk mkfs.ext4 qemu-img python; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "guest-image: FAILED: this machine lacks ${missing[*]}. On Debian:" \
            "apt-get install mmdebstrap extlinux syslinux-common fdisk e2fsprogs qemu-utils" >&2
        exit 1
    fi
}

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
    local sources
    # This machine's, security updates included.
    readarray -t sources < <(apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' \
        'Created-By: Packages' | grep -E ' bookworm(-[a-z]+)? main$' | sort --unique)
    mmdebstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
        --dpkgopt='path-exclude=/usr/share/{doc,info,man,locale}/*' --dpkgopt=force-unsafe-io \
        --aptopt='Acquire::Check-Valid-Until false' \
        --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/postgresql-common"' \
        --essential-hook='printf "MODULES=list\nCOMPRESS=lz4\n" >"$1/etc/initramfs-tools/conf.d/guest"' \
        --essential-hook='echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
        bookworm - "${sources[@]}" 2>"$folder/mmdebstrap.log" | tar --extract --directory="$root" ||
        { tail "$folder/mmdebstrap.log" >&2; exit 1; }
    rm -rf "$root"/var/lib/mysql/*
    chroot "$root" dpkg-query --show >"$folder/packages.txt"
}

install_agent() {
    mkdir -p "$root/opt/coffret"
    # Debian 12's Python, whichever the one is that builds.
    python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$root/opt/coffret" \
        --python-version 3.11 --only-binary :all: \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --constraint "$source/constraints.txt" --requirement "$source/guest_agent/requirements.txt"
    cp --recursive "$source/guest_agent" "$root/opt/coffret/"
    find "$root/opt/coffret" -name __pycache__ -prune -exec rm -r {} +
    cp --recursive --no-preserve=ownership "$source/guest_image/root/." "$root/"
    mkdir -p "$root"/var/lib/coffret/{agent,volume}
    chmod 700 "$root/var/lib/coffret/agent"
    chroot "$root" systemctl --quiet enable coffret-agent.service
    chroot "$root" python3 -m compileall -q /usr/lib/python3/dist-packages /usr/lib/python3.11 /opt/coffret >/dev/null || true
}

configure() {
    local uuid kernel unit
    uuid=$(blkid --match-tag UUID --output value "$(findmnt --noheadings --output SOURCE "$root")")
    echo "UUID=$uuid / ext4 defaults,noatime 0 1" >"$root/etc/fstab"
    echo guest >"$root/etc/hostname"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    printf '%s\n' "${modules[@]}" >>"$root/etc/initramfs-tools/modules"
    for unit in "${masked[@]}"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
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
 append root=UUID=$uuid ro console=tty0 console=ttyS0 net.ifnames=0 rootwait quiet ${GUEST_KERNEL_ARGS:-}
CONFIG
    extlinux --install "$root/boot/extlinux" 2>/dev/null
}

# What this image's engines can be told, read from them.
read_catalogues() {
    local engine manager version
    for engine in "${engines[@]}"; do
        read -r manager version <<<"$engine"
        chroot "$root" coffret-agent catalogue --manager "$manager" --version "$version" |
            python -c 'import json, sys
catalogue = json.load(sys.stdin)
catalogue["image_tags"] = ["coffret", "coffret-" + sys.argv[1]]
print(json.dumps(catalogue, indent=2, sort_keys=True, ensure_ascii=False))' "$manager-$version" \
                >"$folder/$manager-$version.json"
    done
}

# Without the syncs qemu-img has seen holes where data was still unwritten, and the image lost its last files.
convert() {
    rm -rf "$root/etc/machine-id" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/tmp/*
    touch "$root/etc/machine-id"
    umount --recursive "$root/dev" "$root/proc" "$root/sys"
    fstrim "$root" || true # only makes the image smaller
    sync --file-system "$root"
    umount --recursive "$root"
    sync "$raw"
    qemu-img convert -O qcow2 "$raw" "$image.new"
    mv "$image.new" "$image"
    rm "$raw"
}

check_machine
make_disk
say "installing ${#packages[@]} packages and what they need"
install_packages
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount --bind /proc "$root/proc"
mount --bind /sys "$root/sys"
say "installing the agent"
install_agent
say "configuring"
configure
say "reading the engines' catalogues"
read_catalogues
say "writing $image"
convert
say "done: $(du --human-readable "$image" | cut -f1)"
