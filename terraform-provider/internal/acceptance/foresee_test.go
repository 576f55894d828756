package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/coffret/terraform-provider-coffret/internal/provider"
)

// observer sees what plans say, and the dry runs that they ask for.
type observer struct {
	mutex sync.Mutex
	said  []string // severity, attribute, summary and detail, in one line
	tried []string // method and what is in the path before the name
	url   string
}

// observed is a new observer in front of the control plane.
func observed(t *testing.T) *observer {
	t.Helper()
	target, err := url.Parse(os.Getenv("COFFRET_ENDPOINT"))
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("dry_run") != "" {
			o.mutex.Lock()
			o.tried = append(o.tried, r.Method+" "+path.Dir(r.URL.Path))
			o.mutex.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	o.url = web.URL
	return o
}

// test runs steps that go through the observer.
func (o *observer) test(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	for i := range steps {
		steps[i].Config = fmt.Sprintf("provider \"coffret\" {\n endpoint = %q\n}\n", o.url) + steps[i].Config
	}
	resource.Test(t, resource.TestCase{Steps: steps, ProtoV6ProviderFactories: map[string]func() (
		tfprotov6.ProviderServer, error){"coffret": func() (tfprotov6.ProviderServer, error) {
		return heard{provider.Server("test"), o}, nil
	}}})
}

// heard is the provider, whose plans an observer listens to.
type heard struct {
	tfprotov6.ProviderServer
	by *observer
}

func (h heard) PlanResourceChange(
	ctx context.Context, req *tfprotov6.PlanResourceChangeRequest,
) (*tfprotov6.PlanResourceChangeResponse, error) {
	answer, err := h.ProviderServer.PlanResourceChange(ctx, req)
	if err == nil {
		h.by.mutex.Lock()
		defer h.by.mutex.Unlock()
		for _, d := range answer.Diagnostics {
			h.by.said = append(h.by.said, strings.Join(strings.Fields(fmt.Sprint(
				d.Severity, " ", d.Attribute, " ", d.Summary, ": ", d.Detail)), " "))
		}
	}
	return answer, err
}

// forget makes room for what the next plan says.
func (o *observer) forget() {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.said, o.tried = nil, nil
}

// expected is what a plan asks and says.
type expected struct {
	by         *observer
	asks, says []string
}

func (e expected) CheckPlan(_ context.Context, _ plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	resp.Error = e.met()
}

func (e expected) met() error {
	e.by.mutex.Lock()
	defer e.by.mutex.Unlock()
	tried := slices.Sorted(slices.Values(e.by.tried))
	if !slices.Equal(tried, e.asks) {
		return fmt.Errorf("the plan asked for %q, not for %q", tried, e.asks)
	}
	left := slices.Clone(e.by.said)
	for _, pattern := range e.says {
		at := slices.IndexFunc(left, regexp.MustCompile(pattern).MatchString)
		if at < 0 {
			return fmt.Errorf("no plan said %q, but %q", pattern, e.by.said)
		}
		left = slices.Delete(left, at, at+1)
	}
	if len(left) > 0 {
		return fmt.Errorf("the plan said %q, too", left)
	}
	return nil
}

// plans is a step whose plan makes these dry runs, in order of the alphabet, and says what matches these patterns,
// and nothing else.
func (o *observer) plans(config string, asks []string, says ...string) resource.TestStep {
	return resource.TestStep{PreConfig: o.forget, Config: config, ConfigPlanChecks: before(expected{o, asks, says})}
}

const (
	putGroup       = "PUT /v1/configuration-groups"
	deleteInstance = "DELETE /v1/instances"
	putInstance    = "PUT /v1/instances"
)

func group(n, connections, more string) string {
	return fmt.Sprintf(`
		resource "coffret_configuration_group" "test" {
		  name       = %q
		  datastore  = "postgresql"
		  parameters = { max_connections = %s }
		  %s
		}
		`, n, connections, more)
}

const attached = oneGiB + `
	restart_policy      = "automatic"
	configuration_group = coffret_configuration_group.test.name
	`

func TestAPlanTellsWhatRestarts(t *testing.T) {
	n, g := name("instance"), name("group")
	o := observed(t)
	restarts := func(severity, parameter string) string {
		return `^` + severity + ` AttributeName\("parameters"\).ElementKeyString\("` + parameter +
			`"\) The engine restarts.*` + parameter +
			`.*Instances: ` + n + ` Estimated interruption: 5 s`
	}
	medium := strings.Replace(instance(n, attached+`on_restart = "forbid"`), "db.small", "db.medium", 1)
	o.test(t,
		// Both are new in one plan: what is not there yet is nobody's fault.
		o.plans(group(g, "50", "")+instance(n, attached), []string{putGroup, putInstance}),
		o.plans(group(g, "50", "")+instance(n, attached), nil),
		o.plans(group(g, "51", "")+instance(n, attached), []string{putGroup},
			restarts("WARNING", "max_connections")),
		o.plans(group(g, "52", `on_restart = "warn"`)+instance(n, attached), []string{putGroup},
			restarts("WARNING", "max_connections")),
		resource.TestStep{
			PreConfig: o.forget, Config: group(g, "53", `on_restart = "forbid"`) + instance(n, attached),
			ExpectError: regexp.MustCompile(`The engine restarts, which on_restart\s+forbids`),
		},
		// What the group may do is the group's to say, and what the instance may do is the instance's.
		o.plans(group(g, "53", `on_restart = "allow"`)+instance(n, attached+`on_restart = "forbid"`),
			[]string{putGroup}),
		resource.TestStep{
			PreConfig: o.forget, Config: group(g, "53", `on_restart = "allow"`) + medium,
			ExpectError: regexp.MustCompile(`(?s)The engine restarts, which on_restart\s+forbids.*flavor += "db.medium"`),
		},
		o.plans(group(g, "53", "")+instance(n, "volume = { size = 2 }\n"+strings.TrimPrefix(attached, oneGiB)),
			[]string{putInstance}),
	)
}

func TestAPlanNamesEveryInstanceOfAGroupThatRestarts(t *testing.T) {
	n, g := name("instance"), name("group")
	o := observed(t)
	of := func(connections, more string) string {
		config := group(g, connections, more)
		for label, policy := range map[string]string{"first": "automatic", "second": "automatic", "left": "manual"} {
			config += strings.NewReplacer(`"test"`, `"`+label+`"`, `"automatic"`, `"`+policy+`"`).Replace(
				instance(n+"-"+label, attached))
		}
		return config
	}
	const restarts = `The engine restarts.*Instances: `
	o.test(t,
		o.plans(of("50", ""), []string{putGroup, putInstance, putInstance, putInstance}),
		// One question for the group, none for its instances; the manual one keeps the value for later.
		o.plans(of("51", ""), []string{putGroup},
			`^WARNING .*`+restarts+n+`-first, `+n+`-second Estimated interruption: 5 s`),
		resource.TestStep{
			PreConfig: o.forget, Config: of("52", `on_restart = "forbid"`),
			ExpectError: regexp.MustCompile(`The engine restarts, which on_restart\s+forbids`),
		},
		resource.TestStep{ // nothing was changed by that
			PreConfig: o.forget, Config: of("51", ""), PlanOnly: true,
		},
	)
}

func TestAPlanHasRefusalsAtTheirAttributes(t *testing.T) {
	n, taken := name("instance"), name("instance")
	existing(t, "/v1/instances/"+taken, anInstance())
	t.Cleanup(func() { remove(t, "/v1/instances/"+taken) })
	for what, scene := range map[string]struct{ config, asks, says string }{
		"out of range": {group(n, "-5", ""), putGroup, `^ERROR AttributeName\("parameters"\).ElementKeyString\("max_connections"\) .*to 262143`},
		"no such parameter": {
			strings.Replace(group(n, "50", ""), "max_connections", "max_connection", 1), putGroup,
			`^ERROR AttributeName\("parameters"\).ElementKeyString\("max_connection"\) .*Did you mean 'max_connections'`,
		},
		"no such flavor": {
			strings.Replace(instance(n, oneGiB), "db.small", "db.smal", 1), putInstance,
			`^ERROR AttributeName\("flavor"\) .*Did you mean 'db.small'`,
		},
		"more than the quota": {
			instance(n, "volume = { size = 60000 }"), putInstance,
			`^ERROR AttributeName\("volume"\).AttributeName\("size"\) .*10000 GiB`,
		},
		"a name that is taken": {instance(taken, oneGiB), putInstance, `^ERROR .*is taken by.*import {`},
	} {
		t.Run(what, func(t *testing.T) {
			o := observed(t)
			o.test(t, resource.TestStep{
				Config: scene.config, PlanOnly: true, ExpectError: regexp.MustCompile(`Cannot create`),
			})
			if err := (expected{o, []string{scene.asks}, []string{scene.says}}).met(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatAnotherProviderBlockMayMakeIsAWarning(t *testing.T) {
	for what, scene := range map[string]struct{ config, asks, says string }{
		"a group": {
			instance(name("instance"), oneGiB+"\n configuration_group = \"none\""), putInstance,
			`^WARNING AttributeName\("configuration_group"\) .*none.* Unless another change`,
		},
		"an instance": {
			"resource \"coffret_database\" \"test\" {\n instance = \"none\"\n name = \"orders\"\n}",
			"PUT /v1/instances/none/databases",
			`^WARNING AttributeName\("instance"\) .*no instance 'none'.* Unless another change`,
		},
	} {
		t.Run(what, func(t *testing.T) {
			o := observed(t)
			step := o.plans(scene.config, []string{scene.asks}, scene.says)
			step.ExpectError = regexp.MustCompile(`Cannot create`) // of the apply
			o.test(t, step)
		})
	}
}

func TestWhatIsNotKnownIsLeftForTheApply(t *testing.T) {
	n, g := name("instance"), name("group")
	o := observed(t)
	unknown := func(connections, more string) string {
		return fmt.Sprintf("resource \"terraform_data\" \"many\" {\n input = %q\n}\n", connections) +
			group(g, "terraform_data.many.output", more) + instance(n, attached)
	}
	o.test(t,
		o.plans(unknown("50", ""), []string{putInstance}),
		o.plans(unknown("50", ""), nil),
		resource.TestStep{
			PreConfig: o.forget, Config: unknown("51", `on_restart = "forbid"`),
			ConfigPlanChecks: before(expected{o, nil, nil}),
			ExpectError:      regexp.MustCompile(`The engine restarts, which on_restart\s+forbids`),
		},
	)
}

func TestAPlanTellsOfDataThatGoes(t *testing.T) {
	n := name("instance")
	o := observed(t)
	const protected, elsewhere = "\n deletion_protection = true", "\n availability_zone = \"nova\""
	const goes = `^WARNING .*Data goes for good: .*`
	destroy := o.plans(instance(n, oneGiB), []string{deleteInstance}, goes+n)
	destroy.Destroy = true
	o.test(t,
		o.plans(instance(n, oneGiB+protected), []string{putInstance}),
		resource.TestStep{
			PreConfig: o.forget, Config: instance(n, oneGiB+protected+elsewhere),
			ExpectError: regexp.MustCompile(`has deletion_protection; set it to\s+false first`),
		},
		resource.TestStep{
			PreConfig: o.forget, Config: instance(n, oneGiB+protected), Destroy: true,
			ExpectError: regexp.MustCompile(`has deletion_protection; set it to\s+false first`),
		},
		o.plans(instance(n, oneGiB), []string{putInstance}),
		// Made anew: the same plan deletes what has the name.
		o.plans(instance(n, oneGiB+elsewhere), []string{deleteInstance}, goes+n),
		resource.TestStep{
			// What is tainted is planned as if it were new, here with what the old one could not become.
			PreConfig: o.forget, Config: instance(n, oneGiB), Taint: []string{"coffret_instance.test"},
			ConfigPlanChecks: before(
				plancheck.ExpectResourceAction("coffret_instance.test", plancheck.ResourceActionReplace),
				expected{o, []string{putInstance}, nil}),
		},
		destroy,
	)
}

func TestAPlanTellsOfWhatStaysInTheEngine(t *testing.T) {
	n := name("instance")
	o := observed(t)
	const databases, users = "DELETE /v1/instances/%s/databases", "DELETE /v1/instances/%s/users"
	abandoned := user(n, `"a-good-password"`, "1", `deletion_policy = "abandon"`)
	destroy := o.plans(abandoned,
		[]string{deleteInstance, fmt.Sprintf(databases, n), fmt.Sprintf(users, n)},
		`^WARNING .*The user stays in the engine: It stays.*`+n, `Data goes for good.*database`, `Data goes for good.*instance`)
	destroy.Destroy = true
	o.test(t, resource.TestStep{Config: abandoned}, destroy)
}

func TestAPasswordThatIsNotKnownIsNotAskedAbout(t *testing.T) {
	n := name("instance")
	o := observed(t)
	const password = "resource \"terraform_data\" \"password\" {\n input = \"a-good-password\"\n}\n"
	o.test(t,
		o.plans(around(n), []string{putInstance, putInstance + "/" + n + "/databases"}),
		o.plans(password+user(n, "terraform_data.password.output", "1", ""), nil),
		resource.TestStep{
			PreConfig: o.forget, Config: password + user(n, `"not \u0007 printed"`, "2", ""), PlanOnly: true,
			ExpectError: regexp.MustCompile(`A password has 8 to 128`),
		},
	)
}
