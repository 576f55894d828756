package runtime

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// thing is a resource inside an instance, and the control plane that answers as serve does.
func thing(t *testing.T, serve http.HandlerFunc) *Resource {
	t.Helper()
	web := httptest.NewServer(serve)
	t.Cleanup(web.Close)
	c, err := client.New(web.URL, client.Token{Value: "cfrt_a.token", Origin: "a test"}, client.NewHTTP(nil), "test")
	if err != nil {
		t.Fatal(err)
	}
	made := Resources(Facts{
		Type: "thing", Path: "/v1/instances/{instance}/things/{name}", Parents: []string{"instance"}, Key: "name",
		Fields:  []Field{{Attr: "name", JSON: []string{"name"}, Sent: true}},
		Filters: []Filter{{Name: "label", Repeated: true}},
	}, schema.Schema{Attributes: map[string]schema.Attribute{
		"instance": schema.StringAttribute{Required: true}, "name": schema.StringAttribute{Required: true},
	}})
	var answer resource.ConfigureResponse
	r := made().(*Resource)
	r.Configure(context.Background(), resource.ConfigureRequest{ProviderData: NewSettings(c, nil)}, &answer)
	return r
}

// listed are the display names that a list block finds, and what was said.
func listed(t *testing.T, r *Resource, limit int64, labels ...string) ([]string, string) {
	t.Helper()
	ctx := context.Background()
	var config list.ListResourceSchemaResponse
	r.ListResourceConfigSchema(ctx, list.ListResourceSchemaRequest{}, &config)
	var identity resource.IdentitySchemaResponse
	r.IdentitySchema(ctx, resource.IdentitySchemaRequest{}, &identity)
	texts := tftypes.List{ElementType: tftypes.String}
	var wanted []tftypes.Value
	for _, label := range labels {
		wanted = append(wanted, tftypes.NewValue(tftypes.String, label))
	}
	raw := tftypes.NewValue(config.Schema.Type().TerraformType(ctx), values{
		"instance": tftypes.NewValue(tftypes.String, "a b"), "label": tftypes.NewValue(texts, wanted),
	})
	var stream list.ListResultsStream
	r.List(ctx, list.ListRequest{
		Config: tfsdk.Config{Raw: raw, Schema: config.Schema}, Limit: limit, IncludeResource: true,
		ResourceSchema: r.schema, ResourceIdentitySchema: identity.IdentitySchema,
	}, &stream)
	var names []string
	said := ""
	for result := range stream.Results {
		for _, d := range result.Diagnostics {
			said += d.Summary() + ": " + d.Detail()
		}
		if result.DisplayName != "" {
			names = append(names, result.DisplayName)
		}
	}
	return names, said
}

func TestAListHasWhatIsManagedUpToItsLimit(t *testing.T) {
	asked := ""
	r := thing(t, func(w http.ResponseWriter, request *http.Request) {
		asked = request.URL.String()
		fmt.Fprint(w, `{"links": [], "items": [{"name": "one", "status": {"managed": true}},
			{"name": "theirs", "status": {"managed": false}}, {"name": "two", "status": {}}, {"name": "three"}]}`)
	})
	for limit, want := range map[int64][]string{
		2: {"a b/one", "a b/two"}, 100: {"a b/one", "a b/two", "a b/three"},
	} {
		if names, said := listed(t, r, limit, "x=1", "y=&"); !reflect.DeepEqual(names, want) || said != "" {
			t.Errorf("up to %d there are %v; it said %q", limit, names, said)
		}
	}
	if want := "/v1/instances/a%20b/things?label=x%3D1&label=y%3D%26"; asked != want {
		t.Errorf("asked %s, not %s", asked, want)
	}
}

func TestAListThatIsRefusedSaysWhy(t *testing.T) {
	r := thing(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"code": "forbidden", "detail": "It is not yours."}`)
	})
	if names, said := listed(t, r, 100); len(names) > 0 || len(said) == 0 {
		t.Errorf("%v, %q", names, said)
	} else if want := "Cannot list the thing: It is not yours."; said[:len(want)] != want {
		t.Errorf("it said %q", said)
	}
}
