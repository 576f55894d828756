package acceptance

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

func TestEveryResourceCanBeReadAsDataSource(t *testing.T) {
	n := name("instance")
	config := user(n, `"a-good-password"`, "1", `grants = [{ database = "orders", privileges = ["ALL"] }]
		  depends_on = [coffret_database.around]`) + fmt.Sprintf(`
		resource "coffret_configuration_group" "test" {
		  name       = %[1]q
		  datastore  = "postgresql"
		  parameters = { work_mem = "8MB" }
		}
		resource "coffret_datastore" "test" {
		  name    = %[1]q
		  manager = "valkey"
		}
		resource "coffret_datastore_version" "test" {
		  datastore = coffret_datastore.test.name
		  name      = "9"
		}
		data "coffret_configuration_group" "test" {
		  name = coffret_configuration_group.test.name
		}
		data "coffret_datastore" "test" {
		  name = coffret_datastore.test.name
		}
		data "coffret_datastore_version" "test" {
		  datastore = coffret_datastore_version.test.datastore
		  name      = coffret_datastore_version.test.name
		}
		data "coffret_instance" "test" {
		  name = coffret_instance.around.name
		}
		data "coffret_database" "test" {
		  instance = coffret_database.around.instance
		  name     = coffret_database.around.name
		}
		data "coffret_user" "test" {
		  instance = coffret_user.test.instance
		  name     = coffret_user.test.name
		}`, n)
	var checks []statecheck.StateCheck
	for kind, attributes := range map[string][]string{
		"configuration_group.test": {"id", "parameters", "datastore_version"},
		"datastore.test":           {"id", "manager"},
		"datastore_version.test":   {"id", "active"},
		"instance.around":          {"id", "endpoints", "access", "volume"},
		"database.around":          {"id", "uri"},
		"user.test":                {"id", "grants", "uris"},
	} {
		source := "data.coffret_" + regexp.MustCompile(`\..*`).ReplaceAllString(kind, ".test")
		for _, attribute := range attributes {
			at := tfjsonpath.New(attribute)
			checks = append(checks, statecheck.CompareValuePairs("coffret_"+kind, at, source, at, compare.ValuesSame()))
		}
	}
	test(t, resource.TestStep{Config: config, ConfigStateChecks: checks})
}

func TestAFlavorIsFoundByNameOrByWhatItMustHave(t *testing.T) {
	test(t,
		resource.TestStep{
			Config: `
				data "coffret_flavor" "named" {
				  name = "db.small"
				}
				data "coffret_flavor" "fitting" {
				  min_ram             = 1500
				  min_memory_per_vcpu = 2048
				}
				data "coffret_flavors" "two" {
				  min_vcpus = 2
				}`,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("data.coffret_flavor.named", tfjsonpath.New("ram"), knownvalue.Int64Exact(1024)),
				statecheck.ExpectKnownValue("data.coffret_flavor.fitting", tfjsonpath.New("name"), knownvalue.StringExact("db.medium")),
				statecheck.ExpectKnownValue("data.coffret_flavors.two",
					tfjsonpath.New("flavors").AtSliceIndex(0).AtMapKey("name"), knownvalue.StringExact("db.large")),
			},
		},
		resource.TestStep{
			Config:      `data "coffret_flavor" "test" { min_ram = 999999999 }`,
			ExpectError: regexp.MustCompile(`There is no flavor that fits`),
		},
		resource.TestStep{
			Config: `data "coffret_flavor" "test" {
				  name    = "db.small"
				  min_ram = 1
				}`,
			ExpectError: regexp.MustCompile(`cannot be specified when`),
		},
		resource.TestStep{
			Config:      `data "coffret_flavor" "test" { name = "db.smal" }`,
			ExpectError: regexp.MustCompile(`Did you mean 'db.small'`),
		},
	)
}

func TestTheParameterCatalogueIsAListOfObjects(t *testing.T) {
	test(t, resource.TestStep{
		Config: `
			data "coffret_parameters" "test" {
			  datastore = "postgresql"
			  version   = "18"
			}
			locals {
			  by_name = { for p in data.coffret_parameters.test.parameters : p.name => p }
			}
			output "max_connections" {
			  value = local.by_name["max_connections"]
			}
			output "more_than_a_page" {
			  value = length(local.by_name) > 100
			}`,
		ConfigStateChecks: []statecheck.StateCheck{
			statecheck.ExpectKnownOutputValue("more_than_a_page", knownvalue.Bool(true)),
			statecheck.ExpectKnownOutputValueAtPath("max_connections", tfjsonpath.New("restart_required"), knownvalue.Bool(true)),
			statecheck.ExpectKnownOutputValueAtPath("max_connections", tfjsonpath.New("minimum"), knownvalue.Int64Exact(1)),
		},
	})
}
