package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// guest is a user for the run, told to the echo provider, which keeps it in the state as no other does.
func guest(more string) string {
	return fmt.Sprintf(`
		ephemeral "coffret_user" "test" {
		  name_prefix = "guest_"
		  %s
		}
		provider "echo" {
		  data = ephemeral.coffret_user.test
		}
		resource "echo" "test" {}
		`, more)
}

// hasNoGuests checks that no run has left a user.
func hasNoGuests(t *testing.T, n string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		users, err := api(t).List(context.Background(), "/v1/instances/"+n+"/users")
		for _, user := range users {
			if strings.HasPrefix(fmt.Sprint(user["name"]), "guest_") {
				return fmt.Errorf("%v is still there", user["name"])
			}
		}
		return err
	}
}

func echoing(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	both := map[string]func() (tfprotov6.ProviderServer, error){"echo": echoprovider.NewProviderServer()}
	for name, factory := range factories {
		both[name] = factory
	}
	resource.ParallelTest(t, resource.TestCase{ProtoV6ProviderFactories: both, Steps: steps})
}

func TestAUserForARunIsMadeOnWhatTheSameApplyMakes(t *testing.T) {
	n := name("instance")
	alone, _, _ := strings.Cut(around(n), `resource "coffret_database"`)
	told := func(attribute string) tfjsonpath.Path { return tfjsonpath.New("data").AtMapKey(attribute) }
	matches := func(pattern string) knownvalue.Check { return knownvalue.StringRegexp(regexp.MustCompile(pattern)) }
	inside := guest(`
		instance = coffret_database.around.instance
		grants   = [{ database = coffret_database.around.id, privileges = ["select"] }]`)
	echoing(t,
		// The instance first: then it is known, and the database is what is waited for.
		resource.TestStep{Config: alone},
		resource.TestStep{
			Config: around(n) + inside,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("echo.test", told("name"), matches(`^guest_[a-z2-7]{12}$`)),
				statecheck.ExpectKnownValue("echo.test", told("password"), matches(`^[A-Z2-7]{26,}$`)),
				statecheck.ExpectKnownValue("echo.test", told("uris").AtMapKey("orders"),
					matches(`^postgresql://guest_[a-z2-7]{12}:[A-Z2-7]{26,}@.*/orders$`)),
			},
			Check: hasNoGuests(t, n),
		},
		resource.TestStep{
			Config:      around(n) + guest("instance = coffret_database.around.instance\n ttl = \"1s\""),
			ExpectError: regexp.MustCompile(`(?s)ttl must be a duration such as 90s.*of at\s+least 2s`),
		},
		resource.TestStep{
			Config: around(n) + guest(`
				instance = coffret_database.around.instance
				grants   = [{ database = "ordres", privileges = ["ALL"] }]`),
			ExpectError: regexp.MustCompile(`Did you mean 'orders'`),
		},
		resource.TestStep{Config: around(n) + inside}, // and destroyed with it
	)
}
