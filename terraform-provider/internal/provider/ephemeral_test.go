package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// run is a run of Terraform that has a user of its own.
type run struct {
	server
	kind    tftypes.Object
	private []byte
}

func (s server) run() *run {
	s.t.Helper()
	schemas, err := s.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	check(s.t, err)
	kind := schemas.EphemeralResourceSchemas["coffret_user"].ValueType().(tftypes.Object)
	return &run{server: s, kind: kind}
}

// open makes the user with some attributes and no others.
func (r *run) open(attributes map[string]any) (map[string]tftypes.Value, *tfprotov6.OpenEphemeralResourceResponse) {
	r.t.Helper()
	block := map[string]tftypes.Value{}
	for name, kind := range r.kind.AttributeTypes {
		block[name] = tftypes.NewValue(kind, attributes[name])
	}
	config, err := tfprotov6.NewDynamicValue(r.kind, tftypes.NewValue(r.kind, block))
	check(r.t, err)
	answer, err := r.OpenEphemeralResource(context.Background(), &tfprotov6.OpenEphemeralResourceRequest{
		TypeName: "coffret_user", Config: &config,
	})
	check(r.t, err)
	r.private = answer.Private
	if answer.Result == nil {
		return nil, answer
	}
	value, err := answer.Result.Unmarshal(r.kind)
	check(r.t, err)
	made := map[string]tftypes.Value{}
	check(r.t, value.As(&made))
	return made, answer
}

func (r *run) renew() *tfprotov6.RenewEphemeralResourceResponse {
	r.t.Helper()
	answer, err := r.RenewEphemeralResource(context.Background(), &tfprotov6.RenewEphemeralResourceRequest{
		TypeName: "coffret_user", Private: r.private,
	})
	check(r.t, err)
	return answer
}

func (r *run) close() []*tfprotov6.Diagnostic {
	r.t.Helper()
	answer, err := r.CloseEphemeralResource(context.Background(), &tfprotov6.CloseEphemeralResourceRequest{
		TypeName: "coffret_user", Private: r.private,
	})
	check(r.t, err)
	return answer.Diagnostics
}

// users is a control plane with a place for one user; what is asked of it is kept, with the newest body.
type users struct {
	put, get, patch, delete http.HandlerFunc
	asked                   []string
	body                    map[string]any
}

func (u *users) plane() *controlPlane {
	answer := func(w http.ResponseWriter, r *http.Request) {
		u.asked = append(u.asked, r.Method+" "+r.URL.Path)
		if r.Method == http.MethodPut || r.Method == http.MethodPatch {
			u.body = nil
			_ = json.NewDecoder(r.Body).Decode(&u.body)
		}
		map[string]http.HandlerFunc{
			http.MethodPut: u.put, http.MethodGet: u.get, http.MethodPatch: u.patch, http.MethodDelete: u.delete,
		}[r.Method](w, r)
	}
	return &controlPlane{put: answer, get: answer}
}

func userIn(phase, message string) map[string]any {
	return map[string]any{"id": "the-id", "status": map[string]any{
		"phase": phase, "ready": phase == "ACTIVE", "message": message,
		"uris": map[string]any{"or ders": "postgresql://app%40x@[::1]:5432/or%20ders"},
	}}
}

// living is a control plane on which all goes well.
func living() *users {
	return &users{
		put: sends(202, userIn("BUILD", "")), get: then(sends(200, userIn("ACTIVE", "")), problem(404, "not_found")),
		patch: sends(202, userIn("BUILD", "")), delete: sends(202, userIn("SHUTDOWN", "")),
	}
}

func str(t *testing.T, value tftypes.Value) string {
	t.Helper()
	var text string
	check(t, value.As(&text))
	return text
}

// lasts checks that an expiry is that far away.
func (u *users) lasts(t *testing.T, ttl time.Duration) {
	t.Helper()
	expiry, err := time.Parse(time.RFC3339, u.body["expires_at"].(string))
	check(t, err)
	if left := time.Until(expiry); left > ttl || left < ttl-10*time.Second {
		t.Errorf("it expires in %s, not in %s", left, ttl)
	}
}

func TestAUserForARunIsMadeRenewedAndDropped(t *testing.T) {
	u := living()
	r := serve(t, u.plane()).run()
	made, answer := r.open(map[string]any{"instance": "orders-db", "name_prefix": "guest_", "host": "10.0.0.%"})
	if len(answer.Diagnostics) > 0 {
		t.Fatal(said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	name, password := str(t, made["name"]), str(t, made["password"])
	if !strings.HasPrefix(name, "guest_") || len(name) != len("guest_")+12 || len(password) < 26 {
		t.Errorf("it is called %q, with a password of %d letters", name, len(password))
	}
	if want := "PUT /v1/instances/orders-db/users/" + name + "@10.0.0.%"; u.asked[0] != want {
		t.Errorf("it asked for %s, not for %s", u.asked[0], want)
	}
	if u.body["password"] != password {
		t.Error("the password is another one than was sent")
	}
	u.lasts(t, 30*time.Minute)
	uris := map[string]tftypes.Value{}
	check(t, made["uris"].As(&uris))
	isText(t, uris["or ders"], "postgresql://app%40x:"+password+"@[::1]:5432/or%20ders")
	if half := time.Until(answer.RenewAt); half < 14*time.Minute || half > 15*time.Minute {
		t.Errorf("it is renewed in %s", half)
	}
	if strings.Contains(string(r.private), password) {
		t.Error("the password is in what is handed around")
	}

	if renewed := r.renew(); len(renewed.Diagnostics) > 0 || time.Until(renewed.RenewAt) < 14*time.Minute {
		t.Errorf("the renewal said %v, and is due again at %s", renewed.Diagnostics, renewed.RenewAt)
	}
	u.lasts(t, 30*time.Minute)

	if diagnostics := r.close(); len(diagnostics) > 0 {
		t.Error(said(diagnostics, tfprotov6.DiagnosticSeverityWarning))
	}
	here := "/v1/instances/orders-db/users/the-id"
	if last := u.asked[len(u.asked)-3:]; last[0] != "PATCH "+here || last[1] != "DELETE "+here || last[2] != "GET "+here {
		t.Errorf("at the end it asked for %q", last)
	}
}

func TestEachRunHasAUserOfItsOwn(t *testing.T) {
	s := serve(t, living().plane())
	first, _ := s.run().open(map[string]any{"instance": "orders-db"})
	second, _ := serve(t, living().plane()).run().open(map[string]any{"instance": "orders-db"})
	for _, attribute := range []string{"name", "password"} {
		if first[attribute].Equal(second[attribute]) {
			t.Errorf("two runs have the same %s", attribute)
		}
	}
}

func TestAUserWhoseAnswerWasLostIsTheOne(t *testing.T) {
	u := living()
	u.put = then(hangUp, problem(412, "precondition_failed"))
	made, answer := serve(t, u.plane()).run().open(map[string]any{"instance": "orders-db"})
	if made == nil || len(answer.Diagnostics) > 0 {
		t.Fatal(said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	if last := u.asked[len(u.asked)-1]; last != "GET /v1/instances/orders-db/users/"+str(t, made["name"]) {
		t.Errorf("it read %s", last)
	}
}

func TestAUserThatDoesNotBecomeReadyIsNotLeftBehind(t *testing.T) {
	for what, scene := range map[string]struct {
		phase, timeout string
		says           []string
	}{
		"in ERROR": {"ERROR", "1m", []string{"The user is in ERROR", "out of roles", "The engine did not start."}},
		"too late": {"BUILD", "500ms", []string{"Cannot make the user", "timeouts.open is 500ms", "out of roles"}},
	} {
		t.Run(what, func(t *testing.T) {
			u := living()
			u.get = func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(u.asked[len(u.asked)-2], "DELETE") {
					problem(404, "not_found")(w, r)
				} else {
					sends(200, userIn(scene.phase, "out of roles"))(w, r)
				}
			}
			r := serve(t, u.plane()).run()
			limit := tftypes.NewValue(tftypes.String, scene.timeout)
			_, answer := r.open(map[string]any{
				"instance": "orders-db", "timeouts": map[string]tftypes.Value{"open": limit},
			})
			has(t, said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError), scene.says...)
			has(t, strings.Join(u.asked, "\n"), "DELETE /v1/instances/orders-db/users/the-id")
		})
	}
}

func TestARefusedUserIsAnErrorAtTheAttribute(t *testing.T) {
	u := living()
	u.put = sends(422, map[string]any{"code": "invalid", "detail": "No.", "errors": []any{
		map[string]any{"pointer": "/grants/0/database", "detail": "There is no database 'ordres'."},
	}})
	_, answer := serve(t, u.plane()).run().open(map[string]any{"instance": "orders-db"})
	has(t, said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError), "There is no database 'ordres'.")
	if at := answer.Diagnostics[0].Attribute.String(); at != `AttributeName("grants")` {
		t.Errorf("the error is at %s", at)
	}
	if len(u.asked) != 1 {
		t.Errorf("it asked for %q", u.asked)
	}
}

func TestARenewalIsTriedAgainWhileThereIsTime(t *testing.T) {
	for what, scene := range map[string]struct {
		patch  http.HandlerFunc
		within time.Duration
		says   string
	}{
		"gone": {problem(404, "not_found"), 15 * time.Minute, "Cannot renew the user"},
		"busy": {problem(503, "unavailable"), 3 * time.Minute, ""},
	} {
		t.Run(what, func(t *testing.T) {
			u := living()
			u.patch = scene.patch
			r := serve(t, u.plane()).run()
			r.open(map[string]any{"instance": "orders-db"})
			renewed := r.renew()
			has(t, said(renewed.Diagnostics, tfprotov6.DiagnosticSeverityError), scene.says)
			if (len(renewed.Diagnostics) > 0) != (scene.says != "") || time.Until(renewed.RenewAt) > scene.within {
				t.Errorf("it said %v, and renews in %s", renewed.Diagnostics, time.Until(renewed.RenewAt))
			}
		})
	}
}

func TestAUserThatCannotBeDroppedIsAWarning(t *testing.T) {
	u := living()
	r := serve(t, u.plane()).run()
	made, _ := r.open(map[string]any{"instance": "orders-db", "ttl": "90s"})
	u.delete = problem(403, "forbidden")
	diagnostics := r.close()
	has(t, said(diagnostics, tfprotov6.DiagnosticSeverityWarning), str(t, made["name"]), "at the latest in 1m30s", "A sentence.")
	if errors := said(diagnostics, tfprotov6.DiagnosticSeverityError); errors != "" {
		t.Error(errors)
	}
}
