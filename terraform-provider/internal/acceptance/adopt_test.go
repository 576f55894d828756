package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

const adopting = "provider \"coffret\" {\n adopt = true\n}\n"

// existing makes a resource behind Terraform's back, and waits until it is there.
func existing(t *testing.T, path string, body client.Object) client.Object {
	t.Helper()
	made, err := api(t).Create(context.Background(), path, body)
	if status, _ := made["status"].(client.Object); err == nil && status["ready"] != nil {
		made, err = api(t).Get(context.Background(), path+"?wait_for=ready&timeout=25")
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func anInstance() client.Object {
	return client.Object{
		"datastore": "postgresql", "flavor": "db.small", "volume": client.Object{"size": 1},
		"access": client.Object{"allowed_cidrs": []any{"192.0.2.0/24", "10.0.0.0/8"}},
	}
}

// unchanged checks that the resource is the one that was there, as it was.
func unchanged(t *testing.T, path string, before *client.Object) resource.TestCheckFunc {
	return func(*terraform.State) error {
		after := document(t, path)
		if after["id"] != (*before)["id"] || after["generation"] != (*before)["generation"] {
			return fmt.Errorf("%s was %v, generation %v, and is %v, generation %v", path,
				(*before)["id"], (*before)["generation"], after["id"], after["generation"])
		}
		return nil
	}
}

func TestWhatIsAsItIsWantedIsTakenOverWhereAdoptSaysSo(t *testing.T) {
	n := name("instance")
	var before client.Object
	access := "\n access = { allowed_cidrs = [\"10.0.0.0/8\", \"192.0.2.0/24\"] }"
	test(t,
		resource.TestStep{
			PreConfig:   func() { before = existing(t, "/v1/instances/"+n, anInstance()) },
			Config:      adopting + instance(n, oneGiB),
			ExpectError: regexp.MustCompile(`(?s)says:\s+access\s+differs.*import \{`),
		},
		resource.TestStep{
			Config:      adopting + instance(n, "volume = { size = 2 }\n deletion_protection = true"+access),
			ExpectError: regexp.MustCompile(`says:\s+volume,\s+deletion_protection\s+differs`),
		},
		resource.TestStep{
			Config: adopting + instance(n, oneGiB+access),
			Check:  unchanged(t, "/v1/instances/"+n, &before),
			ConfigStateChecks: []statecheck.StateCheck{statecheck.ExpectKnownValue(
				"coffret_instance.test", tfjsonpath.New("generation"), knownvalue.Int64Exact(1))},
		},
	)
}

func TestAUserIsTakenOverWithThePasswordOfTheConfiguration(t *testing.T) {
	n := name("instance")
	path := "/v1/instances/" + n + "/users/app"
	test(t,
		resource.TestStep{Config: around(n)},
		resource.TestStep{
			PreConfig: func() {
				existing(t, path, client.Object{
					"password": "an-older-password", "password_version": 1,
					"grants": []any{client.Object{"database": "orders", "privileges": []any{"SELECT", "CONNECT"}}},
				})
			},
			Config: adopting + user(n, `"a-good-password"`, "1",
				`grants = [{ database = coffret_database.around.name, privileges = ["CONNECT", "SELECT"] }]`),
			Check: hasPassword(t, path, "a-good-password"),
		},
	)
}
