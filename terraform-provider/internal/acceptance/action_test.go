package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"
)

// acted checks which actions an instance has had, all of them done.
func acted(t *testing.T, n string, kinds ...string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		actions, err := api(t).List(context.Background(), "/v1/instances/"+n+"/actions")
		if err != nil {
			return err
		}
		want, got := map[string]int{}, map[string]int{}
		for _, kind := range kinds {
			want[kind+" DONE"]++
		}
		for _, action := range actions {
			got[fmt.Sprint(action["type"], " ", action["phase"])]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%s has had the actions %v, not %v", n, got, want)
		}
		return nil
	}
}

// acting triggers an action by each update of the group's parameters.
func acting(n, g, kind, connections string) string {
	return group(g, connections, fmt.Sprintf(`
		lifecycle {
		  action_trigger {
		    events  = [after_update]
		    actions = [action.coffret_instance_%[1]s.test]
		  }
		}
		`, kind)) + fmt.Sprintf(`
		action "coffret_instance_%s" "test" {
		  config {
		    instance = %q
		  }
		}
		`, kind, n) + instance(n, oneGiB+"\n configuration_group = coffret_configuration_group.test.name")
}

func TestAnUpdateTriggersAnActionOnce(t *testing.T) {
	for _, kind := range []string{"restart", "rebuild"} {
		t.Run(kind, func(t *testing.T) {
			n, g := name("instance"), name("group")
			since(t, tfversion.Version1_14_0,
				resource.TestStep{Config: acting(n, g, kind, "50"), Check: acted(t, n)},
				resource.TestStep{Config: acting(n, g, kind, "51"), Check: acted(t, n, kind)},
				resource.TestStep{Config: acting(n, g, kind, "51"), Check: acted(t, n, kind)},
				resource.TestStep{Config: acting(n, g, kind, "52"), Check: acted(t, n, kind, kind)},
			)
		})
	}
}

func TestAnActionOnWhatIsNotThereIsAnError(t *testing.T) {
	n, g := name("instance"), name("group")
	missing := func(connections string) string {
		return regexp.MustCompile(`instance = "[^"]*"`).ReplaceAllString(
			acting(n, g, "restart", connections), `instance = "nowhere"`)
	}
	since(t, tfversion.Version1_14_0,
		resource.TestStep{Config: missing("50")},
		resource.TestStep{Config: missing("51"), ExpectError: regexp.MustCompile(`no instance 'nowhere'`)},
	)
}
