package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

func connected(t *testing.T, block map[string]string) *client.Client {
	t.Helper()
	made, err := Connect(context.Background(), block, "test-agent/1")
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func get(t *testing.T, c *client.Client) {
	t.Helper()
	if _, err := c.Get(context.Background(), "/v1/x"); err != nil {
		t.Fatal(err)
	}
}

// fault is what Connect says is wrong.
func fault(t *testing.T, block map[string]string) *Fault {
	t.Helper()
	var found *Fault
	if _, err := Connect(context.Background(), block, "test-agent/1"); !errors.As(err, &found) {
		t.Fatalf("%v", err)
	}
	return found
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not said in: %s", part, text)
		}
	}
}

const twoClouds = `
clouds:
  mine:
    auth: {auth_url: AUTH_URL, username: cloud-user, user_domain_name: Corp, project_name: cloud-project,
           project_domain_name: Corp}
    region_name: north
  other:
    auth: {auth_url: AUTH_URL, application_credential_id: ac, application_credential_secret: ac-secret}
`

const passwords = `
clouds:
  mine: {auth: {password: cloud-password}}
`

func TestWhatIsSentToKeystone(t *testing.T) {
	const user, scope = "identity.password.user.", "scope.project."
	for what, scene := range map[string]struct {
		block       map[string]string
		environment map[string]string
		clouds      bool
		sent        map[string]string
	}{
		"a cloud with the password in secure.yaml": {
			block:  map[string]string{"cloud": "mine"},
			clouds: true,
			sent: map[string]string{
				user + "name": "cloud-user", user + "domain.name": "Corp", user + "password": "cloud-password",
				scope + "name": "cloud-project", scope + "domain.name": "Corp",
			},
		},
		"the cloud of OS_CLOUD, before other variables": {
			environment: map[string]string{
				"OS_CLOUD": "mine", "OS_USERNAME": "env-user", "OS_PASSWORD": "env-password", "OS_USER_ID": "1",
				"OS_AUTH_URL": "http://127.0.0.1:1", "OS_PROJECT_NAME": "env-project", "OS_TOKEN": "env-token",
			},
			clouds: true,
			sent: map[string]string{
				user + "name": "cloud-user", user + "id": "", user + "password": "cloud-password", scope + "name": "cloud-project",
			},
		},
		"the block's cloud before that of OS_CLOUD": {
			block:       map[string]string{"cloud": "other"},
			environment: map[string]string{"OS_CLOUD": "mine", "OS_PROJECT_NAME": "p", "OS_PASSWORD": "p", "OS_USERNAME": "u"},
			clouds:      true,
			sent: map[string]string{
				"identity.methods": "[application_credential]", "identity.application_credential.id": "ac",
				"identity.application_credential.secret": "ac-secret", "scope": "",
			},
		},
		"arguments before the cloud": {
			block:  map[string]string{"cloud": "mine", "user_id": "42", "tenant_id": "block-project"},
			clouds: true,
			sent: map[string]string{
				user + "id": "42", user + "name": "", user + "domain": "", user + "password": "cloud-password",
				scope + "id": "block-project", scope + "name": "",
			},
		},
		"an auth_url in the block before OS_CLOUD": {
			block: map[string]string{
				"auth_url": "AUTH_URL", "user_name": "block-user", "password": "block-password", "tenant_name": "block-project",
			},
			environment: map[string]string{"OS_CLOUD": "no-such-cloud"},
			sent: map[string]string{
				user + "name": "block-user", user + "domain.id": "default", scope + "name": "block-project",
				scope + "domain.id": "default",
			},
		},
		"variables": {
			environment: map[string]string{
				"OS_AUTH_URL": "AUTH_URL/v3/", "OS_USERNAME": "env-user", "OS_PASSWORD": "env-password",
				"OS_USER_DOMAIN_NAME": "Corp", "OS_TENANT_NAME": "old-name", "OS_PROJECT_NAME": "env-project",
				"OS_TOKEN": "stale",
			},
			sent: map[string]string{
				"identity.methods": "[password]", user + "name": "env-user", user + "domain.name": "Corp",
				scope + "name": "env-project", scope + "domain.name": "Corp",
			},
		},
		"an application credential by name": {
			environment: map[string]string{
				"OS_AUTH_URL": "AUTH_URL", "OS_APPLICATION_CREDENTIAL_NAME": "terraform", "OS_USERNAME": "env-user",
				"OS_APPLICATION_CREDENTIAL_SECRET": "s", "OS_PASSWORD": "env-password", "OS_PROJECT_NAME": "p",
			},
			sent: map[string]string{
				"identity.application_credential.name": "terraform", "identity.application_credential.user.name": "env-user",
				"identity.application_credential.user.domain.id": "default", "identity.password": "", "scope": "",
			},
		},
		"what OS_AUTH_TYPE says of two": {
			environment: map[string]string{
				"OS_AUTH_URL": "AUTH_URL", "OS_APPLICATION_CREDENTIAL_ID": "ac", "OS_AUTH_TYPE": "v3password",
				"OS_APPLICATION_CREDENTIAL_SECRET": "s", "OS_USER_ID": "42", "OS_PASSWORD": "env-password",
			},
			sent: map[string]string{"identity.methods": "[password]", user + "id": "42"},
		},
		"a password in the block for the user of the environment": {
			block:       map[string]string{"password": "block-password"},
			environment: map[string]string{"OS_AUTH_URL": "AUTH_URL", "OS_USERNAME": "env-user", "OS_APPLICATION_CREDENTIAL_SECRET": "s"},
			sent:        map[string]string{"identity.methods": "[password]", user + "name": "env-user", user + "password": "block-password"},
		},
		"a token's project when another one is asked for": {
			block: map[string]string{"auth_url": "AUTH_URL", "token": "block-token", "tenant_name": "another"},
			sent: map[string]string{
				"identity.methods": "[token]", "identity.token.id": "block-token", scope + "name": "another",
			},
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t)
			if scene.clouds {
				c.write(t, "clouds.yaml", twoClouds)
				c.write(t, "secure.yaml", passwords)
			}
			for name, text := range scene.environment {
				t.Setenv(name, strings.ReplaceAll(text, "AUTH_URL", c.URL+"/identity"))
			}
			block := map[string]string{}
			for name, text := range scene.block {
				block[name] = strings.ReplaceAll(text, "AUTH_URL", c.URL+"/identity")
			}
			get(t, connected(t, block))
			for path, want := range scene.sent {
				if got := c.sent(path); got != want {
					t.Errorf("%s is %q, not %q", path, got, want)
				}
			}
			if want := "/database/v1/x token-1"; len(c.asked) != 1 || c.asked[0] != want {
				t.Errorf("asked %v, not %s", c.asked, want)
			}
		})
	}
}

func TestAGivenTokenIsUsedAsItIs(t *testing.T) {
	for what, environment := range map[string]map[string]string{
		"its project":                           {"OS_TOKEN": "given"},
		"the same project by name":              {"OS_TOKEN": "given", "OS_PROJECT_NAME": "orders"},
		"the same project by id":                {"OS_TOKEN": "given", "OS_PROJECT_ID": "the-project"},
		"read from a file":                      {"OS_TOKEN": "given\n"},
		"OS_AUTH_TYPE":                          {"OS_TOKEN": "given", "OS_PASSWORD": "p", "OS_AUTH_TYPE": "v3token"},
		"a project in a place that counts less": {"OS_PROJECT_NAME": "another"},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t)
			t.Setenv("OS_AUTH_URL", c.URL+"/identity/v3")
			block := map[string]string{}
			for name, text := range environment {
				t.Setenv(name, text)
			}
			if environment["OS_TOKEN"] == "" {
				block["token"] = "given"
			}
			get(t, connected(t, block))
			if len(c.logins) != 0 || c.asked[0] != "/database/v1/x given" {
				t.Error(c.logins, c.asked)
			}
			c.refusing("given")
			_, err := connected(t, block).Get(context.Background(), "/v1/x")
			origin := "`token` in the provider block"
			if environment["OS_TOKEN"] != "" {
				origin = "the environment variable OS_TOKEN"
			}
			contains(t, fmt.Sprint(err), "Who are you?", "The token that was refused comes from "+origin)
		})
	}
}

func TestATokenAndAnEndpointNeedNoKeystone(t *testing.T) {
	c := newCloud(t)
	get(t, connected(t, map[string]string{"token": "given", "endpoint": c.URL + "/database/v1/"}))
	if c.asked[0] != "/database/v1/x given" {
		t.Error(c.asked)
	}
}

func TestTheControlPlanesOwnToken(t *testing.T) {
	for what, scene := range map[string]struct {
		block, environment map[string]string
		asked              string
	}{
		"in the block, before OS_CLOUD": {
			map[string]string{"token": "cfrt_1.block"}, map[string]string{"OS_CLOUD": "nowhere", "COFFRET_TOKEN": "cfrt_1.env"},
			"/own/v1/x Bearer cfrt_1.block",
		},
		"in the environment, before OS_CLOUD": {
			nil, map[string]string{"OS_CLOUD": "nowhere", "COFFRET_TOKEN": "cfrt_1.env"}, "/own/v1/x Bearer cfrt_1.env",
		},
		"left out with its endpoint when the block says how to log in": {
			map[string]string{"auth_url": "AUTH_URL", "user_name": "me", "password": "p", "tenant_name": "orders"},
			map[string]string{"COFFRET_TOKEN": "cfrt_1.env"}, "/database/v1/x token-1",
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t)
			t.Setenv("COFFRET_ENDPOINT", c.URL+"/own")
			for name, text := range scene.environment {
				t.Setenv(name, text)
			}
			if scene.block["auth_url"] != "" {
				scene.block["auth_url"] = c.URL + "/identity"
			}
			get(t, connected(t, scene.block))
			if c.asked[0] != scene.asked {
				t.Errorf("asked %s", c.asked[0])
			}
		})
	}
}

func TestTheEndpoint(t *testing.T) {
	south := map[string]any{"type": "database", "name": "trove", "endpoints": []any{
		map[string]any{"interface": "public", "region": "south", "url": "http://127.0.0.1:1/trove"},
		map[string]any{"interface": "internal", "region": "north", "url": "http://127.0.0.1:1/inside"},
	}}
	for place, path := range map[string]string{
		"": "/v1/x", "/": "/v1/x", "/v1": "/v1/x", "/database/v1.0/": "/database/v1/x",
		"/v1.0/the-project": "/v1/x", "/db/v1/AUTH_the-project": "/db/v1/x", "/v1/other": "/v1/other/v1/x",
	} {
		t.Run("in the catalogue as "+place, func(t *testing.T) {
			c := newCloud(t)
			c.place = place
			get(t, connected(t, c.block()))
			if c.asked[0] != path+" token-1" {
				t.Errorf("asked %s", c.asked[0])
			}
		})
	}
	for what, scene := range map[string]struct{ name, text, said string }{
		"without a region, where there are two": {"", "", "public in north (coffret), public in south (trove)"},
		"in a region without one":               {"OS_REGION_NAME", "west", "Wanted: public in west."},
		"of an interface without one":           {"OS_ENDPOINT_TYPE", "adminURL", "Wanted: admin."},
		"of no interface":                       {"OS_INTERFACE", "secret", "none of public, internal and admin"},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t)
			c.more = []any{south}
			if scene.name != "" {
				t.Setenv(scene.name, scene.text)
			}
			contains(t, fault(t, c.block()).Detail, scene.said)
		})
	}
	t.Run("by region", func(t *testing.T) {
		c := newCloud(t)
		c.more = []any{south}
		t.Setenv("OS_REGION_NAME", "south")
		get(t, connected(t, c.block("region", "north")))
	})
	t.Run("by what the environment says, before clouds.yaml", func(t *testing.T) {
		c := newCloud(t)
		c.write(t, "clouds.yaml", strings.ReplaceAll(twoClouds, "region_name: north", "interface: public"))
		c.write(t, "secure.yaml", passwords)
		c.more = []any{south}
		t.Setenv("OS_REGION_NAME", "south")
		t.Setenv("OS_ENDPOINT_TYPE", "internal")
		contains(t, fault(t, map[string]string{"cloud": "mine"}).Detail, "Wanted: internal in south.")
	})
	t.Run("of the block, before the catalogue", func(t *testing.T) {
		c := newCloud(t)
		get(t, connected(t, c.block("endpoint", c.URL+"/elsewhere/v1")))
		if c.asked[0] != "/elsewhere/v1/x token-1" {
			t.Errorf("asked %s", c.asked[0])
		}
	})
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	c := newCloud(t)
	c.refusing("token-1")
	made := connected(t, c.block())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := made.Get(context.Background(), "/v1/x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(c.logins) != 2 {
		t.Errorf("%d logins", len(c.logins))
	}
	c.refusing("*")
	c.asked = nil
	_, err := made.Get(context.Background(), "/v1/x")
	if problem := client.AsProblem(err); problem == nil || problem.Status != 401 || len(c.asked) != 2 || len(c.logins) != 3 {
		t.Errorf("%v after %v", err, c.asked)
	}
}

func TestATokenIsRenewedBeforeItEnds(t *testing.T) {
	c := newCloud(t)
	c.lifetime = 400 * time.Millisecond
	made := connected(t, c.block())
	get(t, made)
	time.Sleep(350 * time.Millisecond)
	get(t, made)
	if len(c.logins) != 2 || c.asked[1] != "/database/v1/x token-2" {
		t.Errorf("%d logins, asked %v", len(c.logins), c.asked)
	}
}

func TestAPasswordThatIsRefusedIsNotTriedAgain(t *testing.T) {
	c := newCloud(t)
	made := connected(t, c.block())
	c.refusing("*")
	tried := 0
	c.keystone = func(w http.ResponseWriter, _ *http.Request) bool {
		tried++
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error": {"message": "The request you have made requires authentication."}}`)
		return true
	}
	for range 3 {
		_, err := made.Get(context.Background(), "/v1/x")
		contains(t, fmt.Sprint(err), "Who are you?", "requires authentication", `the user "me" of`)
	}
	if tried != 1 {
		t.Errorf("tried %d times, which locks accounts", tried)
	}
}

func TestABusyKeystoneIsWaitedFor(t *testing.T) {
	c := newCloud(t)
	busy := 2
	c.keystone = func(w http.ResponseWriter, _ *http.Request) bool {
		if busy--; busy < 0 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	get(t, connected(t, c.block()))
}

func TestNoSecretGoesToAnotherHost(t *testing.T) {
	c := newCloud(t)
	elsewhere := newCloud(t)
	moved := func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
	made := connected(t, c.block())
	c.plane = moved
	_, err := made.Get(context.Background(), "/v1/x")
	contains(t, fmt.Sprint(err), "307", elsewhere.URL)
	c.keystone = moved
	contains(t, fault(t, c.block()).Detail, "redirects to", elsewhere.URL)
	if len(elsewhere.asked)+len(elsewhere.logins) != 0 {
		t.Error(elsewhere.asked, elsewhere.logins)
	}
}

func TestWhatIsMissingOrWrongIsSaid(t *testing.T) {
	for what, scene := range map[string]struct {
		block, environment map[string]string
		clouds             string
		said               []string
	}{
		"nothing at all": {said: []string{
			"Found: nothing.", "COFFRET_TOKEN", "OS_CLOUD", "`auth_url` with `user_name`", "coffret token create",
		}},
		"an endpoint alone": {
			block: map[string]string{"endpoint": "http://127.0.0.1:1"},
			said:  []string{"the control plane's address (`endpoint` in the provider block), but nothing to authenticate with"},
		},
		"a password alone": {
			environment: map[string]string{"OS_PASSWORD": "pass-word"},
			said:        []string{"a password (the environment variable OS_PASSWORD), but not where to log in"},
		},
		"an auth_url alone": {
			environment: map[string]string{"OS_AUTH_URL": "AUTH_URL"}, said: []string{"but nothing to log in with there"},
		},
		"no user": {
			environment: map[string]string{"OS_AUTH_URL": "AUTH_URL", "OS_PASSWORD": "pass-word"}, said: []string{"OS_USERNAME"},
		},
		"no application credential's id": {
			block: map[string]string{"auth_url": "AUTH_URL", "application_credential_secret": "pass-word"},
			said:  []string{"OS_APPLICATION_CREDENTIAL_ID"},
		},
		"no endpoint for an own token": {
			environment: map[string]string{"COFFRET_TOKEN": "cfrt_1.pass-word"},
			said:        []string{"the environment variable COFFRET_TOKEN", "COFFRET_ENDPOINT"},
		},
		"no clouds.yaml": {
			environment: map[string]string{"OS_CLOUD": "mine"},
			said:        []string{`"mine"`, "OS_CLOUD", "clouds.yaml, ", "/etc/openstack/clouds.yaml", "OS_CLIENT_CONFIG_FILE"},
		},
		"no such file": {
			block:       map[string]string{"cloud": "mine"},
			environment: map[string]string{"OS_CLIENT_CONFIG_FILE": "/no/such.yaml"}, said: []string{"/no/such.yaml"},
		},
		"no such cloud": {
			block: map[string]string{"cloud": "mien"}, clouds: twoClouds, said: []string{`"mien"`, "It has: mine, other."},
		},
		"a cloud without auth": {
			block: map[string]string{"cloud": "mine"}, clouds: "clouds: {mine: {region_name: north}}",
			said: []string{`"mine" in clouds.yaml`, "no section `auth`"},
		},
		"a clouds.yaml that is no YAML": {
			block: map[string]string{"cloud": "mine"}, clouds: "clouds:\n  mine:\n    auth:\n      password: *pass-word\n",
			said: []string{"clouds.yaml", "not the YAML"},
		},
		"a clouds.yaml with a list for a text": {
			block: map[string]string{"cloud": "mine"}, clouds: "clouds:\n  mine:\n    auth:\n      password: {pass-word: 1}\n",
			said: []string{"clouds.yaml", "at line 4"},
		},
		"a cacert that is not there": {
			environment: map[string]string{"OS_CACERT": "/no/ca.pem", "OS_AUTH_URL": "AUTH_URL", "OS_PASSWORD": "pass-word"},
			said:        []string{"OS_CACERT", "no such file"},
		},
		"a key that is no PEM": {
			block: map[string]string{"cert": "-----BEGIN CERTIFICATE-----", "key": "pass-word", "auth_url": "AUTH_URL", "password": "p"},
			said:  []string{"`key` in the provider block", "no such file"},
		},
		"a key that is no file, beside a cloud": {
			block: map[string]string{"cloud": "other"}, clouds: twoClouds,
			environment: map[string]string{"OS_CERT": "clouds.yaml", "OS_KEY": "-----BEGIN PRIVATE KEY----- pass-word"},
			said:        []string{"OS_KEY", "no such file"},
		},
		"a key in the place of its file, in clouds.yaml": {
			block:  map[string]string{"cloud": "mine"},
			clouds: "clouds: {mine: {key: 'pass-word', cert: clouds.yaml, auth: {auth_url: AUTH_URL}}}",
			said:   []string{`"mine" in clouds.yaml`, "no such file"},
		},
		"an insecure that is neither": {
			environment: map[string]string{"OS_INSECURE": "maybe", "OS_AUTH_URL": "AUTH_URL", "OS_PASSWORD": "pass-word"},
			said:        []string{"OS_INSECURE", "neither true nor false"},
		},
		"an auth_url with a user in it": {
			environment: map[string]string{"OS_AUTH_URL": "http://me:pass-word@x", "OS_USERNAME": "me", "OS_PASSWORD": "pass-word"},
			said:        []string{"without a user in it"},
		},
		"an auth_url that is none": {
			environment: map[string]string{"OS_AUTH_URL": "AUTH_URL/nowhere", "OS_USERNAME": "me", "OS_PASSWORD": "pass-word"},
			said:        []string{"Check auth_url"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t)
			if scene.clouds != "" {
				c.write(t, "clouds.yaml", scene.clouds)
			}
			place := strings.NewReplacer("AUTH_URL", c.URL+"/identity")
			for name, text := range scene.environment {
				t.Setenv(name, place.Replace(text))
			}
			block := map[string]string{}
			for name, text := range scene.block {
				block[name] = place.Replace(text)
			}
			found := fault(t, block)
			contains(t, found.Detail, scene.said...)
			if strings.Contains(found.Error(), "pass-word") {
				t.Errorf("a secret is shown: %s", found)
			}
		})
	}
}

func TestALoginForNoProjectIsSaid(t *testing.T) {
	c := newCloud(t)
	c.project = nil
	contains(t, fault(t, c.block()).Detail, "OS_PROJECT_NAME")
}

func TestWhatContradictsItselfInTheBlock(t *testing.T) {
	for what, scene := range map[string]struct {
		block  map[string]string
		faults int
	}{
		"an own token and a cloud":      {map[string]string{"token": "cfrt_1.s", "cloud": "mine"}, 1},
		"an own token and an endpoint":  {map[string]string{"token": "cfrt_1.s", "endpoint": "http://x", "region": "r"}, 0},
		"a token and a password":        {map[string]string{"token": "given", "password": "p"}, 1},
		"a token and a cloud":           {map[string]string{"token": "given", "cloud": "mine"}, 0},
		"a certificate without its key": {map[string]string{"cert": "c"}, 1},
		"a certificate with its key":    {map[string]string{"cert": "c", "key": "k"}, 0},
	} {
		t.Run(what, func(t *testing.T) {
			if found := Contradictions(scene.block); len(found) != scene.faults {
				t.Error(found)
			}
		})
	}
}
