package provider

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// valueOf makes a value of a type of what a test writes: strings, numbers, []any and map[string]any. What an object
// leaves out is null.
func valueOf(kind tftypes.Type, written any) tftypes.Value {
	switch kind := kind.(type) {
	case tftypes.Object:
		members, ok := written.(map[string]any)
		if !ok {
			return tftypes.NewValue(kind, nil)
		}
		made := map[string]tftypes.Value{}
		for name, inner := range kind.AttributeTypes {
			made[name] = valueOf(inner, members[name])
		}
		return tftypes.NewValue(kind, made)
	case tftypes.Map:
		made := map[string]tftypes.Value{}
		for name, member := range written.(map[string]any) {
			made[name] = valueOf(kind.ElementType, member)
		}
		return tftypes.NewValue(kind, made)
	case tftypes.Set:
		return tftypes.NewValue(kind, elements(kind.ElementType, written))
	case tftypes.List:
		return tftypes.NewValue(kind, elements(kind.ElementType, written))
	}
	return tftypes.NewValue(kind, written)
}

func elements(kind tftypes.Type, written any) []tftypes.Value {
	var made []tftypes.Value
	listed, _ := written.([]any)
	for _, element := range listed {
		made = append(made, valueOf(kind, element))
	}
	return made
}

// many are that many labels.
func many(count int) map[string]any {
	labels := map[string]any{}
	for i := range count {
		labels[strings.Repeat("a", i+1)] = ""
	}
	return labels
}

func TestWhatTheAPISaysOfAFieldIsCheckedWithoutIt(t *testing.T) {
	grant := func(name string, values ...any) []any {
		made := map[string]any{"database": "orders", "privileges": []any{"ALL"}}
		made[name] = values
		return []any{made}
	}
	for _, scene := range []struct {
		kind, attribute string
		right, wrong    any
		says            string
	}{
		{"instance", "name", "orders-db", "orders db", "must have 1 to 255 letters"},
		{"instance", "labels", map[string]any{"team/name": "x"}, map[string]any{"my team": "x"}, "must have 1 to 63 letters"},
		{"instance", "labels", many(60), many(65), "at most 64 elements"},
		{"instance", "labels", map[string]any{"team": ""}, map[string]any{"team": strings.Repeat("x", 256)}, "at most 255"},
		{"instance", "volume", map[string]any{"size": 1}, map[string]any{"size": 65537}, "between 1 and 65536"},
		{
			"instance", "access", map[string]any{"allowed_cidrs": []any{"10.0.0.0/24", "2001:db8::/32"}},
			map[string]any{"allowed_cidrs": []any{"10.0.0.1/24"}}, "a CIDR such as 192.0.2.0/24",
		},
		{
			"instance", "network", map[string]any{"ip_address": "2001:db8::1"},
			map[string]any{"ip_address": "orders-db"}, "an IP address such as 192.0.2.10",
		},
		{
			"instance", "server_group", map[string]any{"name": "spread", "policy": "anti-affinity"},
			map[string]any{"name": "spread", "policy": "apart"}, `"soft-anti-affinity"`,
		},
		{"datastore", "manager", "valkey", "oracle", `"mariadb"`},
		{"datastore_version", "image_tags", []any{"a"}, []any{"a", "b", "c", "d", "e", "f"}, "at most 5"},
		{"configuration_group", "parameters", map[string]any{"work_mem": "8MB"}, map[string]any{"": "8MB"}, "between 1 and 255"},
		{"database", "name", "Größe (alt)", "orders/old", "without '/'"},
		{"database", "name", "orders", " orders", "a space at either end"},
		{"database", "name", "orders", strings.Repeat("x", 65), "between 1 and 64"},
		{"user", "name", "app@10.0.0.%", "app@10 0", "before the host"},
		{"user", "password_wo", "a-good-password", "hush me", "between 8 and 128"},
		{"user", "expires_at", "2030-12-31T18:00:00+01:00", "2030-12-31", "such as 2030-12-31T18:00:00Z"},
		{"user", "grants", grant("privileges", "create temporary tables"), grant("privileges", "ALL!"), "SELECT or ALL"},
		{"user", "grants", grant("privileges", "+@read"), grant("privileges"), "at least 1"},
		{"user", "grants", grant("keys", "orders:*"), grant("keys", "orders *"), "must have no space"},
		{"user", "grants", grant("channels", "orders:*"), grant("channels", "(orders)"), "must have no space"},
	} {
		t.Run(scene.kind+" "+scene.attribute+" "+scene.says, func(t *testing.T) {
			if said := validated(t, scene.kind, scene.attribute, scene.right); said != "" {
				t.Errorf("%v is refused: %s", scene.right, said)
			}
			said := validated(t, scene.kind, scene.attribute, scene.wrong)
			has(t, said, scene.says)
			if secret, ok := scene.wrong.(string); ok && scene.attribute == "password_wo" && strings.Contains(said, secret) {
				t.Errorf("a password is shown: %s", said)
			}
		})
	}
}

// validated is what is said at one attribute of a resource, or inside it, while the provider is not configured.
func validated(t *testing.T, kind, attribute string, written any) string {
	t.Helper()
	s := providerserver.NewProtocol6(New("test")())()
	schemas, err := s.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	check(t, err)
	of := schemas.ResourceSchemas["coffret_"+kind].ValueType().(tftypes.Object)
	attributes := map[string]tftypes.Value{}
	for name, inner := range of.AttributeTypes {
		attributes[name] = tftypes.NewValue(inner, nil)
	}
	attributes[attribute] = valueOf(of.AttributeTypes[attribute], written)
	config, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, attributes))
	check(t, err)
	answer, err := s.ValidateResourceConfig(context.Background(), &tfprotov6.ValidateResourceConfigRequest{
		TypeName: "coffret_" + kind, Config: &config,
		ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
	})
	check(t, err)
	var said []string
	for _, d := range answer.Diagnostics {
		if strings.HasPrefix(d.Attribute.String(), `AttributeName("`+attribute+`")`) { // others are missing
			said = append(said, d.Summary+": "+d.Detail)
		}
	}
	return strings.Join(said, "\n")
}
