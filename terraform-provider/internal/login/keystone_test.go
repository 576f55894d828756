package login

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// cloudDouble is a Keystone and a control plane beside it, as much of them as logging in needs.
type cloudDouble struct {
	*httptest.Server
	sync.Mutex
	logins   []map[string]any // what was sent to Keystone, newest last
	asked    []string         // the control plane was asked with, newest last
	lifetime time.Duration
	project  any // of every token
	// place is the control plane's URL in the catalogue, after the server's own.
	place string
	// more stands beside it in the catalogue.
	more []any
	// keystone and plane answer instead when they are there and return true.
	keystone, plane func(w http.ResponseWriter, r *http.Request) bool
}

func newCloud(t *testing.T) *cloudDouble {
	t.Helper()
	c := newCloudUnstarted(t)
	c.Start()
	return c
}

func newCloudUnstarted(t *testing.T) *cloudDouble {
	t.Helper()
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "OS_") || strings.HasPrefix(name, "COFFRET_") {
			t.Setenv(name, "")
		}
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	c := &cloudDouble{
		lifetime: time.Hour, place: "/database/v1",
		project: map[string]any{"id": "the-project", "name": "orders", "domain": map[string]any{"id": "default", "name": "Default"}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/identity/v3/auth/tokens", c.tokens)
	mux.HandleFunc("/", c.api)
	c.Server = httptest.NewUnstartedServer(mux)
	c.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are part of the tests
	t.Cleanup(c.Close)
	return c
}

func (c *cloudDouble) tokens(w http.ResponseWriter, r *http.Request) {
	c.Lock()
	defer c.Unlock()
	if c.keystone != nil && c.keystone(w, r) {
		return
	}
	status, token := http.StatusCreated, fmt.Sprintf("token-%d", len(c.logins)+1)
	if r.Method == http.MethodGet {
		status, token = http.StatusOK, r.Header.Get("X-Subject-Token")
		if r.Header.Get("X-Auth-Token") != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	} else {
		var body struct {
			Auth map[string]any `json:"auth"`
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.logins = append(c.logins, body.Auth)
	}
	here := map[string]any{"interface": "public", "region": "north", "region_id": "north", "url": c.URL + c.place}
	catalogue := append([]any{
		map[string]any{"type": "compute", "name": "nova", "endpoints": []any{
			map[string]any{"interface": "public", "region": "north", "url": c.URL + "/compute"}}},
		map[string]any{"type": "database", "name": "coffret", "endpoints": []any{here}},
	}, c.more...)
	// Keystone's clock is a year behind.
	now := time.Now().UTC().AddDate(-1, 0, 0)
	w.Header().Set("X-Subject-Token", token)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"issued_at":  now.Format("2006-01-02T15:04:05.000000Z"),
		"expires_at": now.Add(c.lifetime).Format("2006-01-02T15:04:05.000000Z"),
		"project":    c.project, "catalog": catalogue,
	}})
}

func (c *cloudDouble) api(w http.ResponseWriter, r *http.Request) {
	c.Lock()
	defer c.Unlock()
	c.asked = append(c.asked, r.URL.Path+" "+r.Header.Get("X-Auth-Token")+r.Header.Get("Authorization"))
	if c.plane != nil && c.plane(w, r) {
		return
	}
	fmt.Fprint(w, `{"name": "x"}`)
}

// refusing answers a request of the control plane's API with 401 while tokens are old.
func (c *cloudDouble) refusing(old ...string) {
	c.plane = func(w http.ResponseWriter, r *http.Request) bool {
		for _, token := range old {
			if r.Header.Get("X-Auth-Token") == token || token == "*" {
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, `{"code": "unauthenticated", "detail": "Who are you?"}`)
				return true
			}
		}
		return false
	}
}

// block is a provider block with a user and a password.
func (c *cloudDouble) block(more ...string) map[string]string {
	made := map[string]string{
		"auth_url": c.URL + "/identity/v3", "user_name": "me", "password": "pass-word", "tenant_name": "orders",
	}
	for i := 0; i < len(more); i += 2 {
		made[more[i]] = more[i+1]
	}
	return made
}

// sent is a value in the newest login, such as "identity.password.user.name".
func (c *cloudDouble) sent(path string) string {
	if len(c.logins) == 0 {
		return "<no login>"
	}
	var here any = c.logins[len(c.logins)-1]
	for _, step := range strings.Split(path, ".") {
		object, _ := here.(map[string]any)
		here = object[step]
	}
	if here == nil {
		return ""
	}
	return fmt.Sprint(here)
}

func (c *cloudDouble) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, "AUTH_URL", c.URL+"/identity")), 0o600); err != nil {
		t.Fatal(err)
	}
}
