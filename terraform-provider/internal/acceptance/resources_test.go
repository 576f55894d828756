package acceptance

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// life is what every resource goes through. Its configurations name it coffret_….test.
type life struct {
	address  string
	path     string
	importID string
	create   string
	update   string
	// changed is the top-level attribute that update sets to another value, drift through the API to
	// a third one.
	changed string
	before  any
	after   any
	drift   any
	// unread are attributes that the API does not answer with.
	unread []string
}

// live creates it, updates it in place, puts drift right, imports it, and makes it again once it was
// deleted elsewhere. After each step the test framework itself demands an empty plan.
func live(t *testing.T, l life) {
	t.Helper()
	id := statecheck.CompareValue(compare.ValuesSame())
	inPlace := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
		plancheck.ExpectResourceAction(l.address, plancheck.ResourceActionUpdate),
		stays(l.address, "id"), stays(l.address, "created_at"),
	}}
	test(t,
		resource.TestStep{
			Config: l.create,
			Check:  apiShows(t, l.path, l.changed, l.before),
			ConfigStateChecks: []statecheck.StateCheck{
				id.AddStateValue(l.address, tfjsonpath.New("id")),
			},
		},
		resource.TestStep{
			Config:           l.update,
			ConfigPlanChecks: inPlace,
			Check:            apiShows(t, l.path, l.changed, l.after),
			ConfigStateChecks: []statecheck.StateCheck{
				id.AddStateValue(l.address, tfjsonpath.New("id")),
			},
		},
		resource.TestStep{
			PreConfig:        func() { patch(t, l.path, client.Object{l.changed: l.drift}) },
			Config:           l.update,
			ConfigPlanChecks: inPlace,
			Check:            apiShows(t, l.path, l.changed, l.after),
		},
		resource.TestStep{
			ResourceName:            l.address,
			ImportState:             true,
			ImportStateId:           l.importID,
			ImportStateVerify:       true,
			ImportStateVerifyIgnore: l.unread,
		},
		resource.TestStep{
			Config:           l.update,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}},
		},
		resource.TestStep{
			PreConfig: func() { remove(t, l.path) },
			Config:    l.update,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction(l.address, plancheck.ResourceActionCreate),
			}},
			Check: apiShows(t, l.path, l.changed, l.after),
		},
	)
}

// stays checks that a computed attribute is not "known after apply" in an update.
func stays(address, attribute string) plancheck.PlanCheck {
	return plancheck.ExpectKnownValue(address, tfjsonpath.New(attribute), knownvalue.NotNull())
}

func TestDatastore(t *testing.T) {
	n := name("engine")
	config := func(description string) string {
		return fmt.Sprintf(`
			resource "coffret_datastore" "test" {
			  name        = %q
			  manager     = "postgresql"
			  description = %q
			}`, n, description)
	}
	live(t, life{
		address: "coffret_datastore.test", path: "/v1/datastores/" + n, importID: n,
		create: config("one"), update: config("two"),
		changed: "description", before: "one", after: "two", drift: "three",
	})
}

func TestDatastoreVersion(t *testing.T) {
	n := name("engine")
	config := func(active bool) string {
		return fmt.Sprintf(`
			resource "coffret_datastore" "around" {
			  name    = %q
			  manager = "postgresql"
			}
			resource "coffret_datastore_version" "test" {
			  datastore  = coffret_datastore.around.name
			  name       = "18.1"
			  image_tags = ["coffret", "postgresql"]
			  deprecated = %t
			}`, n, active)
	}
	live(t, life{
		address: "coffret_datastore_version.test", path: "/v1/datastores/" + n + "/versions/18.1",
		importID: n + "/18.1",
		create:   config(false), update: config(true),
		changed: "deprecated", before: false, after: true, drift: false,
	})
}

func TestConfigurationGroup(t *testing.T) {
	n := name("group")
	config := func(memory string) string {
		return fmt.Sprintf(`
			resource "coffret_configuration_group" "test" {
			  name       = %q
			  datastore  = "postgresql"
			  parameters = { work_mem = %q, max_connections = "50", log_checkpoints = "on" }
			}`, n, memory)
	}
	values := func(memory string) client.Object {
		return client.Object{"work_mem": memory, "max_connections": "50", "log_checkpoints": "on"}
	}
	live(t, life{
		address: "coffret_configuration_group.test", path: "/v1/configuration-groups/" + n, importID: n,
		create: config("8MB"), update: config("16MB"), changed: "parameters",
		before: values("8MB"), after: values("16MB"), drift: client.Object{"work_mem": "4MB", "log_checkpoints": false},
	})
}

func TestInstance(t *testing.T) {
	n := name("instance")
	config := func(flavor string) string {
		return fmt.Sprintf(`
			resource "coffret_instance" "test" {
			  name      = %q
			  datastore = "postgresql"
			  version   = "18"
			  flavor    = %q
			  volume    = { size = 2 }
			  labels    = { service = "orders" }
			  access    = { allowed_cidrs = ["10.0.0.0/8", "192.0.2.0/24"] }
			  timeouts {
			    create = "1m"
			  }
			}`, n, flavor)
	}
	live(t, life{
		address: "coffret_instance.test", path: "/v1/instances/" + n, importID: n,
		create: config("db.small"), update: config("db.medium"),
		changed: "flavor", before: "db.small", after: "db.medium", drift: "db.large",
		unread: []string{"timeouts"},
	})
}

// around is an instance for what lives inside one.
func around(n string) string {
	return fmt.Sprintf(`
		resource "coffret_instance" "around" {
		  name      = %q
		  datastore = "postgresql"
		  flavor    = "db.small"
		  volume    = { size = 1 }
		}
		resource "coffret_database" "around" {
		  instance = coffret_instance.around.name
		  name     = "orders"
		}
		`, n)
}

func TestDatabase(t *testing.T) {
	n := name("instance")
	config := func(owner string) string {
		owners := ""
		for _, user := range []string{"ann", "bob", "eve"} {
			owners += fmt.Sprintf(`
				resource "coffret_user" %[1]q {
				  instance    = coffret_instance.around.name
				  name        = %[1]q
				  password_wo = "a-good-password"
				}`, user)
		}
		return around(n) + owners + fmt.Sprintf(`
			resource "coffret_database" "test" {
			  instance      = coffret_instance.around.name
			  name          = "billing"
			  character_set = "UTF8"
			  owner         = coffret_user.%s.name
			  depends_on    = [coffret_user.ann, coffret_user.bob, coffret_user.eve]
			}`, owner)
	}
	live(t, life{
		address: "coffret_database.test", path: "/v1/instances/" + n + "/databases/billing",
		importID: n + "/billing",
		create:   config("ann"), update: config("bob"),
		changed: "owner", before: "ann", after: "bob", drift: "eve",
	})
}

func TestUser(t *testing.T) {
	n := name("instance")
	config := func(version int) string {
		return around(n) + fmt.Sprintf(`
			resource "coffret_user" "test" {
			  instance            = coffret_instance.around.name
			  name                = "app"
			  password_wo         = "a-good-password-%[1]d"
			  password_wo_version = %[1]d
			  grants = [
			    { database = coffret_database.around.name, privileges = ["SELECT", "CONNECT"] },
			  ]
			}`, version)
	}
	live(t, life{
		address: "coffret_user.test", path: "/v1/instances/" + n + "/users/app", importID: n + "/app",
		create: config(1), update: config(2),
		changed: "password_version", before: 1, after: 2, drift: 7,
	})
}
