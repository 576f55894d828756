package acceptance

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/querycheck"
	"github.com/hashicorp/terraform-plugin-testing/querycheck/queryfilter"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"
)

// query is a list block's run; more stands inside the block.
func query(kind, more string, checks ...querycheck.QueryResultCheck) resource.TestStep {
	return resource.TestStep{
		Query: true,
		Config: fmt.Sprintf(`
			provider "coffret" {}
			list "coffret_%s" "found" {
			  provider = coffret
			  %s
			}`, kind, more),
		QueryResultChecks: checks,
	}
}

func TestAQueryFindsWhatCanBeImported(t *testing.T) {
	one, other := name("instance"), name("instance")
	labelled := func(kind, n string) string {
		return fmt.Sprintf(`
			resource "coffret_instance" %[1]q {
			  name      = %[2]q
			  datastore = "postgresql"
			  flavor    = "db.small"
			  volume    = { size = 1 }
			  labels    = { of = %[3]q, which = %[1]q }
			}
			resource "coffret_database" %[1]q {
			  instance = coffret_instance.%[1]s.name
			  name     = "orders"
			}
			`, kind, n, one)
	}
	instances := func(n string) querycheck.QueryResultCheck {
		return querycheck.ExpectIdentity("coffret_instance.found", texts("name", n))
	}
	since(t, tfversion.Version1_14_0,
		resource.TestStep{Config: labelled("one", one) + labelled("other", other)},
		query("instance", fmt.Sprintf("config {\n label = [\"of=%s\"]\n }", one),
			querycheck.ExpectLength("coffret_instance.found", 2), instances(one), instances(other)),
		query("instance", fmt.Sprintf("config {\n label = [\"of=%s\", \"which=other\"]\n }", one),
			querycheck.ExpectLength("coffret_instance.found", 1), instances(other)),
		query("instance", fmt.Sprintf("config {\n name = %q\n }", one),
			querycheck.ExpectLength("coffret_instance.found", 1), instances(one)),
		query("instance", fmt.Sprintf("limit = 1\n config {\n label = [\"of=%s\"]\n }", one),
			querycheck.ExpectLength("coffret_instance.found", 1)),
		query("database", fmt.Sprintf("include_resource = true\n config {\n instance = %q\n }", one),
			querycheck.ExpectIdentity("coffret_database.found", texts("instance", one, "name", "orders")),
			querycheck.ExpectResourceKnownValues("coffret_database.found",
				queryfilter.ByDisplayName(knownvalue.StringExact(one+"/orders")),
				[]querycheck.KnownValueCheck{{Path: tfjsonpath.New("ready"), KnownValue: knownvalue.Bool(true)}})),
	)
}
