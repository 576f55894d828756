// Package formats has validators for strings that are written as some standard says.
package formats

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

// format is a validator: what a value must be, and what is wrong with one.
type format struct {
	is    string
	fault func(string) error
}

func (f format) Description(context.Context) string { return "value must be " + f.is }

func (f format) MarkdownDescription(ctx context.Context) string { return f.Description(ctx) }

func (f format) ValidateString(_ context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	if req.ConfigValue.IsNull() || req.ConfigValue.IsUnknown() {
		return
	}
	if err := f.fault(req.ConfigValue.ValueString()); err != nil {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid Attribute Value",
			fmt.Sprintf("Attribute %s must be %s, got: %q (%s)", req.Path, f.is, req.ConfigValue.ValueString(), err))
	}
}

// Duration demands a duration as Go writes it, of at least that much.
func Duration(least time.Duration) validator.String {
	return format{
		fmt.Sprintf("a duration such as 90s or 1h30m, of at least %s", least),
		func(value string) error {
			found, err := time.ParseDuration(value)
			if err == nil && found < least {
				err = fmt.Errorf("it is too short")
			}
			return err
		},
	}
}
