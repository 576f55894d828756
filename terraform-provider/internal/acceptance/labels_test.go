package acceptance

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// labelled is an instance under default labels; both are HCL maps.
func labelled(n, defaults, own string) string {
	return fmt.Sprintf("provider \"coffret\" {\n default_labels = %s\n}\n", defaults) +
		instance(n, oneGiB+"\n labels = "+own)
}

func texts(pairs ...string) map[string]knownvalue.Check {
	found := map[string]knownvalue.Check{}
	for i := 0; i < len(pairs); i += 2 {
		found[pairs[i]] = knownvalue.StringExact(pairs[i+1])
	}
	return found
}

// labels checks the resource's own ones in the state.
func labels(own map[string]knownvalue.Check) []statecheck.StateCheck {
	return []statecheck.StateCheck{
		statecheck.ExpectKnownValue("coffret_instance.test", tfjsonpath.New("labels"), knownvalue.MapExact(own)),
	}
}

func TestDefaultLabelsStandUnderTheResourcesOwn(t *testing.T) {
	n := name("instance")
	path := "/v1/instances/" + n
	update := before(
		plancheck.ExpectResourceAction("coffret_instance.test", plancheck.ResourceActionUpdate),
		stays("coffret_instance.test", "id"), stays("coffret_instance.test", "endpoints"),
		stays("coffret_instance.test", "effective_labels"),
	)
	test(t,
		resource.TestStep{
			Config:            labelled(n, `{ team = "orders", env = "test" }`, `{ env = "prod", service = "db" }`),
			ConfigPlanChecks:  before(stays("coffret_instance.test", "effective_labels")),
			Check:             apiShows(t, path, "labels", client.Object{"team": "orders", "env": "prod", "service": "db"}),
			ConfigStateChecks: labels(texts("env", "prod", "service", "db")),
		},
		resource.TestStep{
			// What an import cannot know is whether a label that is a default stands in the block, too.
			ResourceName: "coffret_instance.test", ImportState: true, ImportStateId: n, ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"labels"},
		},
		resource.TestStep{
			// The provider block alone has changed.
			Config:            labelled(n, `{ team = "billing" }`, `{ env = "prod", service = "db" }`),
			ConfigPlanChecks:  update,
			Check:             apiShows(t, path, "labels", client.Object{"team": "billing", "env": "prod", "service": "db"}),
			ConfigStateChecks: labels(texts("env", "prod", "service", "db")),
		},
		resource.TestStep{
			// Drift, of a default and of what is nobody's.
			PreConfig:         func() { patch(t, path, client.Object{"labels": client.Object{"team": "ann", "odd": "1"}}) },
			Config:            labelled(n, `{ team = "billing" }`, `{ env = "prod", service = "db" }`),
			ConfigPlanChecks:  update,
			Check:             apiShows(t, path, "labels", client.Object{"team": "billing", "env": "prod", "service": "db"}),
			ConfigStateChecks: labels(texts("env", "prod", "service", "db")),
		},
		resource.TestStep{
			// Another change leaves all labels known.
			Config: labelled(n, `{ team = "billing" }`,
				`{ env = "prod", service = "db" }`+"\n restart_policy = \"automatic\""),
			ConfigPlanChecks: update,
		},
		resource.TestStep{
			Config:           labelled(n, `{ team = "billing", env = "prod" }`, `{ team = null }`),
			ConfigPlanChecks: update,
			Check:            apiShows(t, path, "labels", client.Object{"env": "prod"}),
		},
		resource.TestStep{
			Config:            instance(n, oneGiB),
			ConfigPlanChecks:  update,
			Check:             apiShows(t, path, "labels", client.Object{}),
			ConfigStateChecks: labels(texts()),
		},
	)
}

func TestWhatIsImportedUnderDefaultLabelsIsAsItWas(t *testing.T) {
	n := name("instance")
	config := labelled(n, `{ team = "orders" }`, `{ service = "db" }`)
	test(t,
		resource.TestStep{Config: config},
		resource.TestStep{
			ResourceName: "coffret_instance.test", ImportState: true, ImportStateId: n, ImportStateVerify: true,
		},
	)
}

func TestDefaultLabelsMayBeKnownAfterApply(t *testing.T) {
	n := name("instance")
	config := func(input string) string {
		return fmt.Sprintf("resource \"terraform_data\" \"team\" {\n input = %q\n}\n", input) +
			labelled(n, `{ team = terraform_data.team.output }`, `{ service = "db" }`)
	}
	under := func(team string) resource.TestStep {
		return resource.TestStep{
			Config: config(team),
			Check:  apiShows(t, "/v1/instances/"+n, "labels", client.Object{"team": team, "service": "db"}),
		}
	}
	test(t, under("orders"), under("billing"))
}
