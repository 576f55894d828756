package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// gone checks that there is nothing at these paths.
func gone(t *testing.T, paths ...string) func(*terraform.State) error {
	return func(*terraform.State) error {
		for _, path := range paths {
			if found, err := api(t).Get(context.Background(), path); !client.IsNotFound(err) {
				return fmt.Errorf("%s is still there: %v %v", path, found, err)
			}
		}
		return nil
	}
}

// Terraform sees no order in names that are written out, and deletes all at once.
func TestADestroyNeedsNoOrder(t *testing.T) {
	n, g, e := name("instance"), name("group"), name("engine")
	version, group, within := "/v1/datastores/"+e+"/versions/18", "/v1/configuration-groups/"+g, "/v1/instances/"+n
	made := []struct {
		path string
		body client.Object
	}{
		{"/v1/datastores/" + e, client.Object{"manager": "postgresql"}},
		{version, client.Object{}},
		{group, client.Object{"datastore": e}},
		{within, client.Object{
			"datastore": e, "flavor": "db.small", "volume": client.Object{"size": 1}, "configuration_group": g}},
		{within + "/users/owner", client.Object{"password": "a-good-password"}},
	}
	config := adopting + fmt.Sprintf(`
		resource "coffret_datastore" "test" {
		  name    = %[3]q
		  manager = "postgresql"
		}
		resource "coffret_datastore_version" "test" {
		  datastore = %[3]q
		  name      = "18"
		}
		resource "coffret_configuration_group" "test" {
		  name      = %[2]q
		  datastore = %[3]q
		}
		resource "coffret_instance" "test" {
		  name                = %[1]q
		  datastore           = %[3]q
		  flavor              = "db.small"
		  volume              = { size = 1 }
		  configuration_group = %[2]q
		}
		resource "coffret_user" "owner" {
		  instance    = %[1]q
		  name        = "owner"
		  password_wo = "a-good-password"
		}
		`, n, g, e)
	paths := []string{"/v1/datastores/" + e, version, group, within}
	for i := range 10 {
		database := fmt.Sprintf("d%d", i)
		at := within + "/databases/" + database
		made = append(made, struct {
			path string
			body client.Object
		}{at, client.Object{"owner": "owner"}})
		paths = append(paths, at)
		config += fmt.Sprintf(`
		resource "coffret_database" %[2]q {
		  instance = %[1]q
		  name     = %[2]q
		  owner    = "owner"
		}
		`, n, database)
	}
	resource.ParallelTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		CheckDestroy:             gone(t, paths...),
		Steps: []resource.TestStep{{
			PreConfig: func() {
				for _, each := range made {
					existing(t, each.path, each.body)
				}
			},
			Config: config,
		}},
	})
}

func TestADestroyOfWhatIsProtectedFailsInThePlan(t *testing.T) {
	n := name("instance")
	config := func(protection bool, policy string) string {
		return instance(n, oneGiB+fmt.Sprintf("\n deletion_protection = %t", protection)) + fmt.Sprintf(`
			resource "coffret_database" "test" {
			  instance        = coffret_instance.test.name
			  name            = "orders"
			  deletion_policy = %s
			}`, policy)
	}
	without := instance(n, oneGiB+"\n deletion_protection = true")
	refused := regexp.MustCompile(`has\s+deletion_protection,\s+and\s+so\s+have\s+its\s+databases`)
	test(t,
		resource.TestStep{Config: config(true, "null")},
		resource.TestStep{Config: without, PlanOnly: true, ExpectError: refused},
		resource.TestStep{Config: config(true, "null"), Destroy: true, ExpectError: refused},
		resource.TestStep{Config: config(false, `"drop"`)},
	)
}

func TestWhatIsAbandonedIsForgotten(t *testing.T) {
	n := name("instance")
	path := "/v1/instances/" + n + "/users/app"
	test(t,
		resource.TestStep{
			Config: user(n, `"a-good-password"`, "1", `deletion_policy = "abandon"`),
			Check:  apiShows(t, path, "deletion_policy", "abandon"),
		},
		resource.TestStep{Config: around(n), Check: gone(t, path)},
	)
}
