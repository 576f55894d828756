// Package formats has validators for strings that are written as some standard says.
package formats

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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

// DateTime demands a time as in RFC 3339.
func DateTime() validator.String {
	return format{"a time with its offset from UTC such as 2030-12-31T18:00:00Z", func(value string) error {
		_, err := time.Parse(time.RFC3339, value)
		return err
	}}
}

// IP demands an address of IPv4 or IPv6.
func IP() validator.String {
	return format{"an IP address such as 192.0.2.10 or 2001:db8::10", func(value string) error {
		_, err := netip.ParseAddr(value)
		return err
	}}
}

// CIDR demands a network as its prefix, without host bits.
func CIDR() validator.String {
	return format{"a CIDR such as 192.0.2.0/24 or 2001:db8::/32", func(value string) error {
		found, err := netip.ParsePrefix(value)
		if err == nil && found != found.Masked() {
			err = fmt.Errorf("without host bits it is %s", found.Masked())
		}
		return err
	}}
}

// Duration demands a duration as Go writes it, of at least that much.
func Duration(least time.Duration) validator.String {
	return format{
		fmt.Sprintf("a duration such as 90s or 1h30m, of at least %s", least),
		func(value string) error {
			found, err := time.ParseDuration(value)
			if err == nil && found < least {
				err = errors.New("it is too short")
			}
			return err
		},
	}
}
