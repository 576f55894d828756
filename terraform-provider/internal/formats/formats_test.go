package formats

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// fault is what the validator says of a value; empty when it is right.
func fault(of validator.String, value types.String) string {
	resp := &validator.StringResponse{}
	of.ValidateString(context.Background(), validator.StringRequest{Path: path.Root("x"), ConfigValue: value}, resp)
	var said []string
	for _, d := range resp.Diagnostics {
		said = append(said, d.Summary()+": "+d.Detail())
	}
	return strings.Join(said, "\n")
}

func TestAFormatIsKept(t *testing.T) {
	for what, scene := range map[string]struct {
		of           validator.String
		right, wrong []string
	}{
		"time": {
			DateTime(), []string{"2030-12-31T18:00:00Z", "2030-12-31T18:00:00.5+02:00"},
			[]string{"", "tomorrow", "2030-12-31", "2030-12-31T18:00:00", "2030-13-01T00:00:00Z"},
		},
		"address": {IP(), []string{"192.0.2.10", "2001:db8::10"}, []string{"", "192.0.2", "192.0.2.0/24", "orders-db"}},
		"network": {
			CIDR(), []string{"192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"},
			[]string{"", "192.0.2.1", "192.0.2.1/24", "192.0.2.0/33", "192.000.2.0/24"},
		},
		"duration": {Duration(2 * time.Second), []string{"2s", "1h30m", "90s"}, []string{"", "1s", "-1h", "5", "1 h", "1d"}},
	} {
		t.Run(what, func(t *testing.T) {
			for _, value := range scene.right {
				if said := fault(scene.of, types.StringValue(value)); said != "" {
					t.Errorf("%q is refused: %s", value, said)
				}
			}
			for _, value := range scene.wrong {
				if said := fault(scene.of, types.StringValue(value)); !strings.Contains(said, "must be a") {
					t.Errorf("%q is accepted, or it is not said what is right: %q", value, said)
				}
			}
			for _, value := range []types.String{types.StringNull(), types.StringUnknown()} {
				if said := fault(scene.of, value); said != "" {
					t.Errorf("%s is refused: %s", value, said)
				}
			}
		})
	}
}
