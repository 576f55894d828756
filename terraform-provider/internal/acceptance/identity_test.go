package acceptance

import (
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"
)

func TestAResourceIsImportedByItsIdentity(t *testing.T) {
	n := name("instance")
	config := instance(n, oneGiB) + `
		resource "coffret_database" "test" {
		  instance = coffret_instance.test.name
		  name     = "orders"
		}`
	byIdentity := func(address string) resource.TestStep {
		return resource.TestStep{
			Config: config, ResourceName: address,
			ImportState: true, ImportStateKind: resource.ImportBlockWithResourceIdentity,
		}
	}
	identity := func(address string, pairs ...string) statecheck.StateCheck {
		return statecheck.ExpectIdentity(address, texts(pairs...))
	}
	since(t, tfversion.Version1_12_0,
		resource.TestStep{
			Config: config,
			ConfigStateChecks: []statecheck.StateCheck{
				identity("coffret_instance.test", "name", n),
				identity("coffret_database.test", "instance", n, "name", "orders"),
			},
		},
		byIdentity("coffret_instance.test"),
		byIdentity("coffret_database.test"),
	)
}

func TestTheIdentityFollowsARename(t *testing.T) {
	n := name("instance")
	shows := func(n string) []statecheck.StateCheck {
		return []statecheck.StateCheck{statecheck.ExpectIdentity("coffret_instance.test",
			map[string]knownvalue.Check{"name": knownvalue.StringExact(n)})}
	}
	since(t, tfversion.Version1_12_0,
		resource.TestStep{Config: instance(n, oneGiB), ConfigStateChecks: shows(n)},
		resource.TestStep{Config: instance(n+"-renamed", oneGiB), ConfigStateChecks: shows(n + "-renamed")},
	)
}
