package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

func before(checks ...plancheck.PlanCheck) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: checks}
}

func instance(n, more string) string {
	return fmt.Sprintf(`
		resource "coffret_instance" "test" {
		  name      = %q
		  datastore = "postgresql"
		  flavor    = "db.small"
		  %s
		}
		`, n, more)
}

const oneGiB = "volume = { size = 1 }"

func TestRenamingAnInstanceKeepsWhatIsInside(t *testing.T) {
	for _, by := range []string{"name", "id"} {
		t.Run("referred to by "+by, func(t *testing.T) {
			n := name("instance")
			inside := fmt.Sprintf(`
				resource "coffret_database" "test" {
				  instance = coffret_instance.test.%s
				  name     = "orders"
				}`, by)
			id := statecheck.CompareValue(compare.ValuesSame())
			keeps := func() []statecheck.StateCheck {
				return []statecheck.StateCheck{id.AddStateValue("coffret_database.test", tfjsonpath.New("id"))}
			}
			action := plancheck.ResourceActionUpdate
			if by == "id" {
				action = plancheck.ResourceActionNoop
			}
			test(t,
				resource.TestStep{Config: instance(n, oneGiB) + inside, ConfigStateChecks: keeps()},
				resource.TestStep{
					Config: instance(n+"-renamed", oneGiB) + inside,
					ConfigPlanChecks: before(
						plancheck.ExpectResourceAction("coffret_instance.test", plancheck.ResourceActionUpdate),
						plancheck.ExpectResourceAction("coffret_database.test", action),
					),
					ConfigStateChecks: keeps(),
					Check:             apiShows(t, "/v1/instances/"+n+"-renamed/databases/orders", "name", "orders"),
				},
			)
		})
	}
}

func TestAnotherSpellingOfTheParentChangesNothing(t *testing.T) {
	n := name("instance")
	inside := func(by string) string {
		return instance(n, oneGiB) + fmt.Sprintf(`
			resource "coffret_database" "test" {
			  instance = coffret_instance.test.%s
			  name     = "orders"
			}`, by)
	}
	id := statecheck.CompareValue(compare.ValuesSame())
	keeps := func() []statecheck.StateCheck {
		return []statecheck.StateCheck{id.AddStateValue("coffret_database.test", tfjsonpath.New("id"))}
	}
	test(t,
		resource.TestStep{Config: inside("name"), ConfigStateChecks: keeps()},
		resource.TestStep{Config: inside("id"), ConfigStateChecks: keeps()},
	)
}

func TestAnotherParentMakesAnotherDatabase(t *testing.T) {
	one, other := name("instance"), name("instance")
	inside := func(n string) string {
		return instance(one, oneGiB) + fmt.Sprintf(`
			resource "coffret_instance" "other" {
			  name      = %q
			  datastore = "postgresql"
			  flavor    = "db.small"
			  volume    = { size = 1 }
			}
			resource "coffret_database" "test" {
			  instance   = %q
			  name       = "orders"
			  depends_on = [coffret_instance.test, coffret_instance.other]
			}`, other, n)
	}
	test(t,
		resource.TestStep{Config: inside(one)},
		resource.TestStep{
			Config: inside(other),
			ConfigPlanChecks: before(plancheck.ExpectResourceAction(
				"coffret_database.test", plancheck.ResourceActionDestroyBeforeCreate)),
			Check: apiShows(t, "/v1/instances/"+other+"/databases/orders", "name", "orders"),
		},
	)
}

func TestATakenNameIsAnErrorThatShowsHowToImport(t *testing.T) {
	n := name("instance")
	test(t,
		resource.TestStep{
			PreConfig: func() {
				_, err := api(t).Create(context.Background(), "/v1/instances/"+n, client.Object{
					"datastore": "postgresql", "flavor": "db.small", "volume": client.Object{"size": 1},
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			Config:      instance(n, oneGiB),
			ExpectError: regexp.MustCompile(`(?s)is taken.*import \{\s+to = coffret_instance.NAME\s+id = "` + n),
		},
		resource.TestStep{
			Config: instance(n, oneGiB) + fmt.Sprintf(`
				import {
				  to = coffret_instance.test
				  id = %q
				}`, n),
		},
	)
}

func TestNullAndNoNetworksAreTwoThings(t *testing.T) {
	n := name("instance")
	at := tfjsonpath.New("access").AtMapKey("allowed_cidrs")
	shows := func(want knownvalue.Check) []statecheck.StateCheck {
		return []statecheck.StateCheck{statecheck.ExpectKnownValue("coffret_instance.test", at, want)}
	}
	test(t,
		resource.TestStep{Config: instance(n, oneGiB), ConfigStateChecks: shows(knownvalue.Null())},
		resource.TestStep{
			Config:            instance(n, oneGiB+"\n access = { allowed_cidrs = [] }"),
			ConfigStateChecks: shows(knownvalue.SetExact(nil)),
			Check: apiShows(t, "/v1/instances/"+n, "access",
				client.Object{"is_public": false, "allowed_cidrs": []any{}}),
		},
		resource.TestStep{
			Config:            instance(n, oneGiB+"\n access = {}"),
			ConfigStateChecks: shows(knownvalue.Null()),
		},
	)
}

func TestAnInstanceChangesInPlace(t *testing.T) {
	n, group := name("instance"), name("group")
	config := func(more string) string {
		return instance(n, more) + fmt.Sprintf(`
			resource "coffret_configuration_group" "test" {
			  name      = %q
			  datastore = "postgresql"
			}`, group)
	}
	update := before(
		plancheck.ExpectResourceAction("coffret_instance.test", plancheck.ResourceActionUpdate),
		stays("coffret_instance.test", "endpoints"), stays("coffret_instance.test", "engine_version"),
	)
	const attached = `
		configuration_group = coffret_configuration_group.test.name
		volume              = { size = 3 }
		labels              = { a = "b" }
		deletion_protection = true
		restart_policy      = "automatic"`
	test(t,
		resource.TestStep{Config: config(oneGiB)},
		resource.TestStep{Config: config(attached), ConfigPlanChecks: update},
		resource.TestStep{
			Config: config(attached), Destroy: true,
			ExpectError: regexp.MustCompile(`deletion_protection; set it to\s+false first`),
		},
		resource.TestStep{
			Config:      config(oneGiB + "\n deletion_protection = true"),
			ExpectError: regexp.MustCompile(`A volume\s+never\s+shrinks`),
		},
		resource.TestStep{Config: config("volume = { size = 3 }"), ConfigPlanChecks: update},
	)
}

func TestAGroupIsDetachedAndDeletedInOneApply(t *testing.T) {
	n, group := name("instance"), name("group")
	settings := fmt.Sprintf(`
		resource "coffret_configuration_group" "test" {
		  name      = %q
		  datastore = "postgresql"
		  lifecycle {
		    create_before_destroy = true # hence also: detach before delete
		  }
		}`, group)
	test(t,
		resource.TestStep{Config: settings +
			instance(n, oneGiB+"\n configuration_group = coffret_configuration_group.test.name")},
		resource.TestStep{Config: instance(n, oneGiB)},
	)
}

func user(n, password, version, more string) string {
	return around(n) + fmt.Sprintf(`
		resource "coffret_user" "test" {
		  instance            = coffret_instance.around.name
		  name                = "app"
		  password_wo         = %s
		  password_wo_version = %s
		  %s
		}`, password, version, more)
}

// hasPassword checks that sending the password again is no change, as it is of the one that is in force.
func hasPassword(t *testing.T, path, password string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		before := document(t, path)
		after, err := api(t).Replace(context.Background(), path, client.Object{
			"password": password, "password_version": before["password_version"], "grants": before["grants"],
		})
		if err == nil && after["generation"] != before["generation"] {
			err = fmt.Errorf("%q was not the password of %s", password, path)
		}
		return err
	}
}

func TestAPasswordIsNeededForANewUserAndForANewVersion(t *testing.T) {
	n := name("instance")
	path := "/v1/instances/" + n + "/users/app"
	test(t,
		resource.TestStep{
			Config:      user(n, "null", "1", ""),
			ExpectError: regexp.MustCompile(`A new user needs password_wo`),
		},
		resource.TestStep{
			Config: user(n, `"a-good-password"`, "1", ""),
			Check:  hasPassword(t, path, "a-good-password"),
		},
		resource.TestStep{
			// Another password without another version is not seen: it is in no state.
			Config:           user(n, `"an-unseen-password"`, "1", ""),
			ConfigPlanChecks: before(plancheck.ExpectEmptyPlan()),
		},
		resource.TestStep{
			Config:      user(n, "null", "2", ""),
			ExpectError: regexp.MustCompile(`there is another password_wo; set it`),
		},
		resource.TestStep{
			// Other changes do without.
			Config: user(n, "null", "1", `grants = [{ database = "orders", privileges = ["ALL"] }]`),
		},
		resource.TestStep{
			Config: user(n, `"another-password"`, "2", ""),
			Check:  hasPassword(t, path, "another-password"),
		},
	)
}

func TestWhatTheControlPlaneSpellsInAnotherWayIsNoDifference(t *testing.T) {
	n := name("instance")
	lower := user(n, `"a-good-password"`, "1",
		`grants = [{ database = coffret_database.around.name, privileges = ["select", "connect"], keys = [] }]`)
	path := "/v1/instances/" + n + "/users/app"
	grants := func(privileges ...any) []any {
		return []any{client.Object{"database": "orders", "privileges": privileges}}
	}
	test(t,
		resource.TestStep{
			Config: lower,
			Check: apiShows(t, path, "grants", []any{client.Object{
				"database": "orders", "privileges": []any{"CONNECT", "SELECT"}, "keys": []any{}, "channels": []any{},
			}}),
		},
		resource.TestStep{
			// Real drift is still seen.
			PreConfig: func() { patch(t, path, client.Object{"grants": grants("ALL")}) },
			Config:    lower,
			ConfigPlanChecks: before(
				plancheck.ExpectResourceAction("coffret_user.test", plancheck.ResourceActionUpdate)),
		},
	)
}

func TestTimeoutsThatAreTooShortLeaveAWarningAndTheResource(t *testing.T) {
	n := name("instance")
	short := instance(n, oneGiB+`
		timeouts {
		  create = "1ns"
		}`)
	test(t,
		// 1 ns is too short even for the first request, which then is an error and leaves no state …
		resource.TestStep{Config: short, ExpectError: regexp.MustCompile(`deadline`)},
		// … so that a longer one simply creates it.
		resource.TestStep{Config: instance(n, oneGiB)},
	)
}

func TestValuesAreCheckedBeforeAnythingIsDone(t *testing.T) {
	for sentence, config := range map[string]string{
		`value must be one of`:         oneGiB + "\n restart_policy = \"never\"",
		`must be between 1 and 65536`:  "volume = { size = 0 }",
		`must have 1 to 255 letters`:   oneGiB + "\n name = \"a name\"",
		`(?s)flavor.*Did you mean 'db`: oneGiB + "\n flavor = \"db.smal\"",
	} {
		t.Run(sentence, func(t *testing.T) {
			attributes := map[string]string{"name": `"` + name("instance") + `"`, "flavor": `"db.small"`}
			text := `resource "coffret_instance" "test" {` + "\n datastore = \"postgresql\"\n" + config
			for attribute, value := range attributes {
				if !regexp.MustCompile(`(?m)^ ` + attribute + ` =`).MatchString(config) {
					text += "\n " + attribute + " = " + value
				}
			}
			test(t, resource.TestStep{Config: text + "\n}", ExpectError: regexp.MustCompile(sentence)})
		})
	}
}

func TestMissingProviderSettingsSayWhichAndWhere(t *testing.T) {
	test(t, resource.TestStep{
		Config: `
			provider "coffret" {
			  endpoint = "ftp://127.0.0.1"
			}
			data "coffret_flavors" "test" {}`,
		ExpectError: regexp.MustCompile(`is not an endpoint; it\s+looks like http://127.0.0.1:8779`),
	})
}
