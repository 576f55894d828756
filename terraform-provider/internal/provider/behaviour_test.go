package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// controlPlane is a control plane of one instance, whose answers each test scripts.
type controlPlane struct {
	sync.Mutex
	put, get http.HandlerFunc
	try      http.HandlerFunc // dry runs; where it is nil they tell of no impact
	asked    []string
	tried    []string
}

func (c *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.Lock()
	defer c.Unlock()
	if r.URL.Query().Get("dry_run") == "true" {
		c.tried = append(c.tried, r.Method+" "+r.URL.Path)
		if c.try != nil {
			c.try(w, r)
		} else {
			fmt.Fprint(w, `{"impact": []}`)
		}
		return
	}
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	switch {
	case r.URL.Path == "/v1/events":
		fmt.Fprint(w, `{"items": [{"created_at": "12:00", "message": "The engine did not start."}], "links": []}`)
	case r.Method == http.MethodPut:
		c.put(w, r)
	default:
		c.get(w, r)
	}
}

func instanceIn(phase, message string) map[string]any {
	return map[string]any{
		"id": "the-id", "name": "orders-db", "generation": 1, "created_at": "2026-01-01T00:00:00Z",
		"datastore": "postgresql", "version": nil, "flavor": "db.small",
		"volume": map[string]any{"size": 1, "type": nil}, "network": nil,
		"access":            map[string]any{"is_public": false, "allowed_cidrs": nil},
		"availability_zone": nil, "configuration_group": nil, "restart_policy": "manual", "rebuild_policy": "automatic",
		"deletion_protection": false, "labels": map[string]any{},
		"status": map[string]any{
			"phase": phase, "ready": phase == "ACTIVE", "message": message, "endpoints": []any{},
			"pending_changes": []any{},
		},
	}
}

func sends(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

// then sends one answer after the other, the last one for ever.
func then(script ...http.HandlerFunc) http.HandlerFunc {
	asked := 0
	return func(w http.ResponseWriter, r *http.Request) {
		step := script[min(asked, len(script)-1)]
		asked++
		step(w, r)
	}
}

func problem(status int, code string) http.HandlerFunc {
	return sends(status, map[string]any{"code": code, "detail": "A sentence.", "id": "another-id"})
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
		connection.Close()
	}
}

type server struct {
	tfprotov6.ProviderServer
	t      *testing.T
	schema *tfprotov6.Schema // of the provider block
	kind   tftypes.Object    // of an instance
}

func serve(t *testing.T, c *controlPlane) server {
	t.Helper()
	return serveBlock(t, c, nil)
}

func serveBlock(t *testing.T, c *controlPlane, block map[string]any) server {
	t.Helper()
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	t.Setenv("COFFRET_ENDPOINT", web.URL)
	t.Setenv("COFFRET_TOKEN", "cfrt_a.token")
	s, answer := configured(t, block, nil)
	if len(answer.Diagnostics) != 0 {
		t.Fatal(said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	return s
}

// configured is the provider with a block, and what it answers to it.
func configured(
	t *testing.T, block map[string]any, capabilities *tfprotov6.ConfigureProviderClientCapabilities,
) (server, *tfprotov6.ConfigureProviderResponse) {
	t.Helper()
	s := server{ProviderServer: providerserver.NewProtocol6(New("test")())(), t: t}
	schemas, err := s.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	check(t, err)
	s.schema, s.kind = schemas.Provider, schemas.ResourceSchemas["coffret_instance"].ValueType().(tftypes.Object)
	answer, err := s.ConfigureProvider(context.Background(), &tfprotov6.ConfigureProviderRequest{
		Config: s.block(block), ClientCapabilities: capabilities,
	})
	check(t, err)
	return s, answer
}

// block is a provider block with some values and no others.
func (s server) block(values map[string]any) *tfprotov6.DynamicValue {
	s.t.Helper()
	kind := s.schema.ValueType().(tftypes.Object)
	block := map[string]tftypes.Value{}
	for name, kind := range kind.AttributeTypes {
		block[name] = tftypes.NewValue(kind, values[name])
	}
	config, err := tfprotov6.NewDynamicValue(kind, tftypes.NewValue(kind, block))
	check(s.t, err)
	return &config
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s server) dynamic(value tftypes.Value) *tfprotov6.DynamicValue {
	s.t.Helper()
	made, err := tfprotov6.NewDynamicValue(s.kind, value)
	check(s.t, err)
	return &made
}

// create plans and applies a new instance with a timeout; it returns the state and what was said.
func (s server) create(timeout string) (map[string]tftypes.Value, []*tfprotov6.Diagnostic) {
	s.t.Helper()
	nothing, config := s.dynamic(tftypes.NewValue(s.kind, nil)), s.instance(timeout)
	planned, err := s.PlanResourceChange(context.Background(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: nothing, ProposedNewState: config, Config: config,
	})
	check(s.t, err)
	applied, err := s.ApplyResourceChange(context.Background(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: nothing, PlannedState: planned.PlannedState, Config: config,
		PlannedPrivate: planned.PlannedPrivate,
	})
	check(s.t, err)
	return s.open(applied.NewState), append(planned.Diagnostics, applied.Diagnostics...)
}

// instance is the configuration of one.
func (s server) instance(timeout string) *tfprotov6.DynamicValue {
	s.t.Helper()
	attributes := map[string]tftypes.Value{}
	for name, kind := range s.kind.AttributeTypes {
		attributes[name] = tftypes.NewValue(kind, nil)
	}
	volume, limits := s.kind.AttributeTypes["volume"], s.kind.AttributeTypes["timeouts"]
	text := func(value any) tftypes.Value { return tftypes.NewValue(tftypes.String, value) }
	attributes["name"], attributes["datastore"], attributes["flavor"] = text("orders-db"), text("postgresql"), text("db.small")
	attributes["volume"] = tftypes.NewValue(volume, map[string]tftypes.Value{
		"size": tftypes.NewValue(tftypes.Number, 1), "type": text(nil),
	})
	attributes["timeouts"] = tftypes.NewValue(limits, map[string]tftypes.Value{
		"create": text(timeout), "update": text(nil), "delete": text(nil),
	})
	return s.dynamic(tftypes.NewValue(s.kind, attributes))
}

func (s server) open(state *tfprotov6.DynamicValue) map[string]tftypes.Value {
	s.t.Helper()
	value, err := state.Unmarshal(s.kind)
	check(s.t, err)
	if value.IsNull() {
		return nil
	}
	attributes := map[string]tftypes.Value{}
	check(s.t, value.As(&attributes))
	return attributes
}

func said(diagnostics []*tfprotov6.Diagnostic, severity tfprotov6.DiagnosticSeverity) string {
	var texts []string
	for _, diagnostic := range diagnostics {
		if diagnostic.Severity == severity {
			texts = append(texts, diagnostic.Summary+": "+diagnostic.Detail)
		}
	}
	return strings.Join(texts, "\n")
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

func isText(t *testing.T, value tftypes.Value, want string) {
	t.Helper()
	if !value.Equal(tftypes.NewValue(tftypes.String, want)) {
		t.Errorf("%v is not %q", value, want)
	}
}

func TestACreateWaitsUntilItIsReady(t *testing.T) {
	c := &controlPlane{put: sends(202, instanceIn("BUILD", "")), get: then(
		sends(200, instanceIn("BUILD", "")),
		hangUp, hangUp, hangUp, hangUp, hangUp, hangUp, // a control plane that is being restarted
		sends(200, instanceIn("ACTIVE", "")),
	)}
	state, diagnostics := serve(t, c).create("1m")
	if len(diagnostics) > 0 {
		t.Fatal(said(diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	isText(t, state["phase"], "ACTIVE")
}

func TestAnErrorOfTheControlPlaneIsAnErrorWithTheReasonAndKeepsTheState(t *testing.T) {
	c := &controlPlane{
		put: sends(202, instanceIn("BUILD", "")),
		get: sends(200, instanceIn("ERROR", "FATAL: could not map memory")),
	}
	state, diagnostics := serve(t, c).create("1m")
	has(t, said(diagnostics, tfprotov6.DiagnosticSeverityError),
		"The instance is in ERROR", "FATAL: could not map memory", "12:00 The engine did not start.",
		"terraform untaint coffret_instance.NAME")
	isText(t, state["id"], "the-id")
	isText(t, state["phase"], "ERROR")
}

func TestTheEndOfPatienceIsAWarningAndKeepsTheState(t *testing.T) {
	c := &controlPlane{
		put: sends(202, instanceIn("BUILD", "")),
		get: sends(200, instanceIn("BUILD", "The volume is being made.")),
	}
	state, diagnostics := serve(t, c).create("500ms")
	if errors := said(diagnostics, tfprotov6.DiagnosticSeverityError); errors != "" {
		t.Fatal(errors)
	}
	has(t, said(diagnostics, tfprotov6.DiagnosticSeverityWarning),
		"not ready yet", "phase BUILD", "timeouts.create", "The volume is being made.")
	isText(t, state["id"], "the-id")
}

func TestARefusedCreateLeavesNoState(t *testing.T) {
	c := &controlPlane{put: sends(422, map[string]any{
		"code": "invalid", "detail": "Two.", "errors": []any{
			map[string]any{"pointer": "/volume/size", "detail": "It is too large."},
			map[string]any{"pointer": "/labels/a~1b", "detail": "It is too long."},
		},
	})}
	state, diagnostics := serve(t, c).create("1m")
	if state != nil || len(diagnostics) != 2 {
		t.Fatalf("%v %v", state, diagnostics)
	}
	for i, want := range []string{`AttributeName("volume").AttributeName("size")`, `AttributeName("labels").ElementKeyString("a/b")`} {
		if got := diagnostics[i].Attribute.String(); got != want {
			t.Errorf("the error is at %s, not at %s", got, want)
		}
	}
}

func TestATakenNameIsAnErrorUnlessOurOwnLostAttemptTookIt(t *testing.T) {
	another := instanceIn("ACTIVE", "")
	another["flavor"] = "db.large"
	older := instanceIn("ACTIVE", "")
	older["generation"] = 2
	for what, scene := range map[string]struct {
		put   http.HandlerFunc
		found map[string]any
		ours  bool
	}{
		"taken before":                  {problem(412, "precondition_failed"), instanceIn("ACTIVE", ""), false},
		"made by the lost attempt":      {then(hangUp, problem(412, "precondition_failed")), instanceIn("ACTIVE", ""), true},
		"lost, and another one's":       {then(hangUp, problem(412, "precondition_failed")), another, false},
		"lost, and changed by somebody": {then(hangUp, problem(412, "precondition_failed")), older, false},
	} {
		t.Run(what, func(t *testing.T) {
			state, diagnostics := serve(t, &controlPlane{put: scene.put, get: sends(200, scene.found)}).create("1m")
			if scene.ours {
				isText(t, state["id"], "the-id")
				return
			}
			has(t, said(diagnostics, tfprotov6.DiagnosticSeverityError), "another-id", "import {", `id = "orders-db"`)
			if state != nil {
				t.Error("a resource of somebody else's is in the state")
			}
		})
	}
}

func TestWhatIsInNobodysCareIsTakenOverWhereAdoptSaysSo(t *testing.T) {
	refuse := sends(412, map[string]any{"code": "precondition_failed", "detail": "The engine has one."})
	for _, adopt := range []bool{false, true} {
		c := &controlPlane{get: sends(200, instanceIn("ACTIVE", ""))}
		c.put = func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") == "*" {
				refuse(w, r)
			} else {
				sends(200, instanceIn("ACTIVE", ""))(w, r)
			}
		}
		state, diagnostics := serveBlock(t, c, map[string]any{"adopt": adopt}).create("1m")
		if !adopt {
			has(t, said(diagnostics, tfprotov6.DiagnosticSeverityError), "nobody manages here", "`adopt = true`")
			if state != nil {
				t.Error("a resource of nobody's is in the state")
			}
			continue
		}
		has(t, said(diagnostics, tfprotov6.DiagnosticSeverityWarning), "was there already", "the-id")
		isText(t, state["id"], "the-id")
	}
}

func TestAnUpdateNeverMakesAnotherResource(t *testing.T) {
	c := &controlPlane{put: sends(200, instanceIn("ACTIVE", ""))}
	s := serve(t, c)
	state, _ := s.create("1m")
	wanted := map[string]tftypes.Value{}
	for name, value := range state {
		wanted[name] = value
	}
	wanted["flavor"] = tftypes.NewValue(tftypes.String, "db.large")
	c.put = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/instances/the-id" || r.Header.Get("If-Match") != "*" {
			t.Errorf("PUT %s with If-Match %q", r.URL.Path, r.Header.Get("If-Match"))
		}
		problem(412, "precondition_failed")(w, r)
	}
	config := s.dynamic(tftypes.NewValue(s.kind, wanted))
	applied, err := s.ApplyResourceChange(context.Background(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: s.dynamic(tftypes.NewValue(s.kind, state)),
		PlannedState: config, Config: config,
	})
	check(t, err)
	has(t, said(applied.Diagnostics, tfprotov6.DiagnosticSeverityError), "no such instance any more", "Plan again")
	isText(t, s.open(applied.NewState)["flavor"], "db.small")
}

func TestWhatIsGoneLeavesTheStateAndWhatCannotBeReachedStays(t *testing.T) {
	for what, scene := range map[string]struct {
		get  http.HandlerFunc
		gone bool
	}{
		"gone":             {problem(404, "not_found"), true},
		"no control plane": {sends(404, "no such page"), false},
		"not allowed":      {problem(401, "unauthenticated"), false},
	} {
		t.Run(what, func(t *testing.T) {
			c := &controlPlane{put: sends(200, instanceIn("ACTIVE", "")), get: scene.get}
			s := serve(t, c)
			state, _ := s.create("1m")
			prior := s.dynamic(tftypes.NewValue(s.kind, state))
			read, err := s.ReadResource(context.Background(), &tfprotov6.ReadResourceRequest{
				TypeName: "coffret_instance", CurrentState: prior,
			})
			check(t, err)
			if left := s.open(read.NewState); (left == nil) != scene.gone {
				t.Errorf("the state is %v", left)
			}
			if (len(read.Diagnostics) == 0) != scene.gone {
				t.Errorf("it said %s", said(read.Diagnostics, tfprotov6.DiagnosticSeverityError))
			}
			if last := c.asked[len(c.asked)-1]; last != "GET /v1/instances/the-id" {
				t.Errorf("it read %s, not this incarnation", last)
			}
		})
	}
}

func TestAPlanThatCannotBeCheckedIsAWarning(t *testing.T) {
	for what, try := range map[string]http.HandlerFunc{
		"not allowed":      problem(403, "forbidden"),
		"no control plane": sends(404, "no such page"),
		"broken":           problem(500, "error"),
	} {
		t.Run(what, func(t *testing.T) {
			c := &controlPlane{try: try, put: sends(200, instanceIn("ACTIVE", ""))}
			state, diagnostics := serve(t, c).create("1m")
			if errors := said(diagnostics, tfprotov6.DiagnosticSeverityError); errors != "" {
				t.Error(errors)
			}
			has(t, said(diagnostics, tfprotov6.DiagnosticSeverityWarning), "The plan is not checked", `"orders-db"`)
			isText(t, state["id"], "the-id")
		})
	}
}

func TestAPlanDoesNotWaitForANameThatIsBeingDeleted(t *testing.T) {
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		problem(409, "conflict")(w, r)
	}
	c := &controlPlane{try: busy, put: sends(200, instanceIn("ACTIVE", ""))}
	state, diagnostics := serve(t, c).create("1m")
	if len(diagnostics) > 0 || len(c.tried) != 1 {
		t.Errorf("it said %v after %q", diagnostics, c.tried)
	}
	isText(t, state["id"], "the-id")
}

// destroy applies the deletion of what has a state, within a time; it returns what was said.
func (s server) destroy(state map[string]tftypes.Value, timeout string) string {
	s.t.Helper()
	limits := s.kind.AttributeTypes["timeouts"]
	state["timeouts"] = tftypes.NewValue(limits, map[string]tftypes.Value{
		"create": tftypes.NewValue(tftypes.String, nil), "update": tftypes.NewValue(tftypes.String, nil),
		"delete": tftypes.NewValue(tftypes.String, timeout),
	})
	nothing := s.dynamic(tftypes.NewValue(s.kind, nil))
	applied, err := s.ApplyResourceChange(context.Background(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: s.dynamic(tftypes.NewValue(s.kind, state)),
		PlannedState: nothing, Config: nothing,
	})
	check(s.t, err)
	errors := said(applied.Diagnostics, tfprotov6.DiagnosticSeverityError)
	if gone := s.open(applied.NewState) == nil; gone != (errors == "") {
		s.t.Errorf("it said %q, and whether it is gone is %t", errors, gone)
	}
	return errors
}

func TestADeleteWaitsUntilNothingUsesItAndItIsGone(t *testing.T) {
	used := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "0.01")
		problem(409, "in_use")(w, r)
	}
	for what, scene := range map[string]struct {
		answers http.HandlerFunc
		timeout string
		says    []string
	}{
		"used for a while": {then(used, used, sends(202, instanceIn("SHUTDOWN", "")),
			sends(200, instanceIn("SHUTDOWN", "")), problem(404, "not_found")), "1m", nil},
		"used for long": {used, "500ms", []string{"Cannot delete the instance", "A sentence.", "409 in_use",
			"still so at the end of timeouts.delete", "create_before_destroy"}},
		"refused": {then(sends(202, instanceIn("SHUTDOWN", "")), sends(200, instanceIn("ERROR", "It owns table t."))),
			"1m", []string{"Cannot delete the instance", "It is not deleted. It owns table t."}},
		"never gone": {sends(202, instanceIn("SHUTDOWN", "The volume is busy.")), "500ms",
			[]string{"still being deleted at the end of timeouts.delete", "The volume is busy."}},
	} {
		t.Run(what, func(t *testing.T) {
			c := &controlPlane{put: sends(200, instanceIn("ACTIVE", "")), get: scene.answers}
			s := serve(t, c)
			state, _ := s.create("1m")
			errors := s.destroy(state, scene.timeout)
			has(t, errors, scene.says...)
			if strings.Contains(errors, "context deadline") {
				t.Errorf("it said %q", errors)
			}
		})
	}
}

// replan plans an instance that is in the state, with some attributes changed, or its end where there are none.
func (s server) replan(state, changes map[string]tftypes.Value) *tfprotov6.PlanResourceChangeResponse {
	s.t.Helper()
	prior, config := s.dynamic(tftypes.NewValue(s.kind, state)), s.dynamic(tftypes.NewValue(s.kind, nil))
	proposed := config
	if changes != nil {
		written, whole := s.open(s.instance("1m")), maps.Clone(state)
		maps.Copy(written, changes)
		maps.Copy(whole, changes)
		config, proposed = s.dynamic(tftypes.NewValue(s.kind, written)), s.dynamic(tftypes.NewValue(s.kind, whole))
	}
	planned, err := s.PlanResourceChange(context.Background(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: prior, ProposedNewState: proposed, Config: config,
	})
	check(s.t, err)
	return planned
}

func TestAPlanAsksOnceOrNotAtAll(t *testing.T) {
	text := func(value any) tftypes.Value { return tftypes.NewValue(tftypes.String, value) }
	for what, scene := range map[string]struct {
		changes map[string]tftypes.Value
		asks    []string
	}{
		"nothing changed":       {map[string]tftypes.Value{}, nil},
		"what is Terraform's":   {map[string]tftypes.Value{"on_restart": text("forbid")}, nil},
		"changed":               {map[string]tftypes.Value{"flavor": text("db.large")}, []string{"PUT"}},
		"changed twice":         {map[string]tftypes.Value{"flavor": text("db.large"), "name": text("o")}, []string{"PUT"}},
		"changed to whatever":   {map[string]tftypes.Value{"flavor": text(tftypes.UnknownValue)}, nil},
		"made anew":             {map[string]tftypes.Value{"availability_zone": text("nova")}, []string{"DELETE"}},
		"made anew and changed": {map[string]tftypes.Value{"datastore": text("mariadb"), "flavor": text("db.large")}, []string{"DELETE"}},
		"deleted":               {nil, []string{"DELETE"}},
	} {
		t.Run(what, func(t *testing.T) {
			c := &controlPlane{put: sends(200, instanceIn("ACTIVE", ""))}
			s := serve(t, c)
			state, _ := s.create("1m")
			c.asked, c.tried = nil, nil
			planned := s.replan(state, scene.changes)
			if len(planned.Diagnostics) > 0 {
				t.Error(said(planned.Diagnostics, tfprotov6.DiagnosticSeverityError))
			}
			var want []string
			for _, method := range scene.asks {
				want = append(want, method+" /v1/instances/the-id")
			}
			if len(c.asked) > 0 || !slices.Equal(c.tried, want) {
				t.Errorf("it tried %q and asked for %q, not just for %q", c.tried, c.asked, want)
			}
		})
	}
}

func TestWhatInterruptsIsAllowedWarnedOfOrForbidden(t *testing.T) {
	for effect, interrupts := range map[string]bool{
		"none": false, "online": false, "restart": true, "resize": true, "rebuild": true, "failover": true,
	} {
		for on, severity := range map[any]tfprotov6.DiagnosticSeverity{
			"allow": tfprotov6.DiagnosticSeverityInvalid, "warn": tfprotov6.DiagnosticSeverityWarning,
			nil: tfprotov6.DiagnosticSeverityWarning, "forbid": tfprotov6.DiagnosticSeverityError,
		} {
			t.Run(fmt.Sprint(effect, " ", on), func(t *testing.T) {
				c := &controlPlane{put: sends(200, instanceIn("ACTIVE", ""))}
				s := serve(t, c)
				state, _ := s.create("1m")
				c.try = sends(200, map[string]any{"impact": []any{map[string]any{
					"path": "/flavor", "effect": effect, "sentence": "It is interrupted.", "interruption": 5,
					"instances": []any{"orders-db", "billing-db"},
				}}})
				planned := s.replan(state, map[string]tftypes.Value{
					"flavor": tftypes.NewValue(tftypes.String, "db.large"), "on_restart": tftypes.NewValue(tftypes.String, on),
				})
				if !interrupts || on == "allow" {
					if len(planned.Diagnostics) > 0 {
						t.Errorf("it said %v", planned.Diagnostics[0])
					}
					return
				}
				has(t, said(planned.Diagnostics, severity), "It is interrupted.", "Instances: orders-db, billing-db", "5 s")
				if at := planned.Diagnostics[0].Attribute.String(); len(planned.Diagnostics) != 1 || at != `AttributeName("flavor")` {
					t.Errorf("it said %d things, the first at %s", len(planned.Diagnostics), at)
				}
			})
		}
	}
}
