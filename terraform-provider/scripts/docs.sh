#!/bin/sh
# Write docs/ from the provider's schema and examples/. Needs go and terraform 1.14 or newer on PATH.
set -eu
cd "$(dirname "$0")/.."
# tfplugindocs looks for the provider under the hashicorp namespace only, so it has that name here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o bin/terraform-provider-coffret .
cat >"$work/terraformrc" <<EOF
provider_installation {
  dev_overrides {
    "registry.terraform.io/hashicorp/coffret" = "$PWD/bin"
  }
}
EOF
cat >"$work/main.tf" <<EOF
terraform {
  required_providers {
    coffret = { source = "registry.terraform.io/hashicorp/coffret" }
  }
}
EOF
TF_CLI_CONFIG_FILE="$work/terraformrc" terraform -chdir="$work" providers schema -json >"$work/schema.json"
grep -q '"list_resource_schemas"' "$work/schema.json" || {
    echo "docs: terraform is older than 1.14 and does not tell of identities and lists" >&2
    exit 1
}
go -C tools build -o "$work/tfplugindocs" github.com/hashicorp/terraform-plugin-docs/cmd/tfplugindocs
"$work/tfplugindocs" generate --provider-dir "$PWD" --provider-name coffret \
    --rendered-provider-name Coffret --providers-schema "$work/schema.json" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
