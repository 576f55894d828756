package provider

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// invoke restarts the instance with a timeout; it returns what was told meanwhile, and what was said at the end.
func (s server) invoke(timeout string) (string, []*tfprotov6.Diagnostic) {
	s.t.Helper()
	schemas, err := s.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	check(s.t, err)
	kind := schemas.ActionSchemas["coffret_instance_restart"].Schema.ValueType().(tftypes.Object)
	config, err := tfprotov6.NewDynamicValue(kind, tftypes.NewValue(kind, map[string]tftypes.Value{
		"instance": tftypes.NewValue(tftypes.String, "orders-db"),
		"timeouts": tftypes.NewValue(kind.AttributeTypes["timeouts"], map[string]tftypes.Value{
			"invoke": tftypes.NewValue(tftypes.String, timeout),
		}),
	}))
	check(s.t, err)
	stream, err := s.ProviderServer.(tfprotov6.ActionServer).InvokeAction(context.Background(),
		&tfprotov6.InvokeActionRequest{ActionType: "coffret_instance_restart", Config: &config})
	check(s.t, err)
	var told []string
	for event := range stream.Events {
		switch kind := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			told = append(told, kind.Message)
		case tfprotov6.CompletedInvokeActionEventType:
			return strings.Join(told, "\n"), kind.Diagnostics
		}
	}
	s.t.Fatal("the action never ended")
	return "", nil
}

// restarting is a control plane that takes a POST as post says, and then shows the instance as get says and the
// action as shown says; it keeps the keys that it was sent.
type restarting struct {
	post, get, shown http.HandlerFunc
	keys             []string
}

func (r *restarting) plane() *controlPlane {
	return &controlPlane{get: func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == http.MethodPost && req.URL.Path == "/v1/instances/orders-db/actions":
			r.keys = append(r.keys, req.Header.Get("Idempotency-Key"))
			r.post(w, req)
		case req.URL.Path == "/v1/instances/orders-db/actions/the-action":
			r.shown(w, req)
		case req.URL.Path == "/v1/instances/orders-db":
			r.get(w, req)
		default:
			problem(404, "not_found")(w, req)
		}
	}}
}

func theAction(phase string) http.HandlerFunc {
	return sends(202, map[string]any{"id": "the-action", "type": "restart", "phase": phase})
}

func TestAnActionIsAskedForOnceAndWaitedFor(t *testing.T) {
	r := &restarting{
		post:  then(hangUp, problem(503, "unavailable"), theAction("REQUESTED")),
		get:   then(sends(200, instanceIn("REBOOT", "The engine stops.")), sends(200, instanceIn("ACTIVE", ""))),
		shown: then(theAction("REQUESTED"), theAction("DONE")),
	}
	told, diagnostics := serve(t, r.plane()).invoke("1m")
	if len(diagnostics) > 0 {
		t.Fatal(said(diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	has(t, told, `restart of the instance "orders-db": asked for`, "REBOOT, The engine stops.", "ACTIVE", "done")
	if keys := slices.Compact(r.keys); len(r.keys) != 3 || len(keys) != 1 || len(keys[0]) < 20 {
		t.Errorf("the keys of one action were %q", r.keys)
	}
}

func TestEachInvocationOfAnActionHasAKeyOfItsOwn(t *testing.T) {
	r := &restarting{post: theAction("REQUESTED"), get: sends(200, instanceIn("ACTIVE", "")), shown: theAction("DONE")}
	s := serve(t, r.plane())
	s.invoke("1m")
	s.invoke("1m")
	if len(r.keys) != 2 || r.keys[0] == r.keys[1] {
		t.Errorf("the keys of two actions were %q", r.keys)
	}
}

func TestAnActionThatFailsSaysWhy(t *testing.T) {
	for what, scene := range map[string]struct {
		post, get http.HandlerFunc
		timeout   string
		says      []string
	}{
		"refused": {
			problem(409, "conflict"), nil, "1m", []string{"Cannot restart the instance", "A sentence."},
		},
		"in ERROR": {
			theAction("REQUESTED"), sends(200, instanceIn("ERROR", "FATAL: could not map memory")), "1m",
			[]string{"The instance is in ERROR", "FATAL: could not map memory", "12:00 The engine did not start."},
		},
		"too late": {
			theAction("REQUESTED"), sends(200, instanceIn("REBOOT", "The engine stops.")), "500ms",
			[]string{"Cannot restart the instance", "timeouts.invoke is 500ms", "Last seen: REBOOT, The engine stops."},
		},
		"gone meanwhile": {
			theAction("REQUESTED"), problem(404, "not_found"), "1m", []string{"A sentence.", "404 not_found"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			r := &restarting{post: scene.post, get: scene.get, shown: theAction("REQUESTED")}
			_, diagnostics := serve(t, r.plane()).invoke(scene.timeout)
			has(t, said(diagnostics, tfprotov6.DiagnosticSeverityError), scene.says...)
		})
	}
}
