package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/ephemeral/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
	"github.com/coffret/terraform-provider-coffret/internal/formats"
)

const (
	defaultPrefix = "terraform_"
	defaultTTL    = 30 * time.Minute
	// leastTTL leaves the time for a renewal.
	leastTTL = 2 * time.Second
	// dropping is how long the end of a run may be held up by the drop of its user.
	dropping = time.Minute
)

// EphemeralUser is a user that lives for a run of Terraform. It expires at the server
// (docs/decisions/0021-users-for-a-run.md).
type EphemeralUser struct {
	of     Resource
	schema schema.Schema
}

var (
	_ ephemeral.EphemeralResourceWithConfigure = &EphemeralUser{}
	_ ephemeral.EphemeralResourceWithRenew     = &EphemeralUser{}
	_ ephemeral.EphemeralResourceWithClose     = &EphemeralUser{}
)

// NewEphemeralUser adds to the attributes what a user has that lives for a run; the facts are those of any user.
func NewEphemeralUser(facts Facts, attributes schema.Schema) ephemeral.EphemeralResource {
	maps.Copy(attributes.Attributes, map[string]schema.Attribute{
		"name_prefix": schema.StringAttribute{
			Optional: true,
			MarkdownDescription: "What the name begins with; the rest of it is random. Default: `" + defaultPrefix +
				"`.",
			Validators: []validator.String{stringvalidator.UTF8LengthBetween(1, 40)},
		},
		"host": schema.StringAttribute{
			Optional: true,
			MarkdownDescription: "Host that the user may come from (MariaDB), such as `10.0.0.%`. Where it is not set:" +
				" any.",
			Validators: []validator.String{stringvalidator.UTF8LengthBetween(1, 255)},
		},
		"ttl": schema.StringAttribute{
			Optional: true,
			MarkdownDescription: "How long the user outlives a run that is killed, such as `90s` or `1h30m`. It is renewed" +
				" as long as the run goes on. Default: `" + shortDuration(defaultTTL) + "`.",
			Validators: []validator.String{formats.Duration(leastTTL)},
		},
		"name": schema.StringAttribute{Computed: true, MarkdownDescription: "Name to log in with."},
		"password": schema.StringAttribute{
			Computed: true, Sensitive: true, MarkdownDescription: "Password to log in with.",
		},
		"uris": schema.MapAttribute{
			Computed: true, Sensitive: true, ElementType: types.StringType,
			MarkdownDescription: "Connection URI, with name and password, for each database that it has grants on.",
		},
	})
	attributes.Blocks = map[string]schema.Block{
		"timeouts": timeouts.BlockWithOpts(context.Background(), timeouts.Opts{
			OpenDescription: limitDescription("making the user", facts),
		}),
	}
	return &EphemeralUser{Resource{facts: facts}, attributes}
}

func (e *EphemeralUser) Metadata(
	_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse,
) {
	resp.TypeName = req.ProviderTypeName + "_" + e.of.facts.Type
}

func (e *EphemeralUser) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = e.schema
}

func (e *EphemeralUser) Configure(
	_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse,
) {
	e.of.settings, _ = req.ProviderData.(Settings)
}

// lease is what Renew and Close must know of a user, for as long as the run goes on.
type lease struct {
	Name string        `json:"name"`
	Path string        `json:"path"`
	TTL  time.Duration `json:"ttl"`
}

const leaseKey = "lease"

// expiry is the end of a lease that is taken or renewed now.
func (l *lease) expiry() string { return time.Now().Add(l.TTL).UTC().Format(time.RFC3339Nano) }

// renewal leaves half of the time for attempts that fail.
func (l *lease) renewal() time.Time { return time.Now().Add(l.TTL / 2) }

func (e *EphemeralUser) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var configured timeouts.Value
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("timeouts"), &configured)...)
	limit, more := configured.Open(ctx, e.of.facts.Timeout)
	resp.Diagnostics.Append(more...)
	if resp.Diagnostics.HasError() {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	config := attributesOf(req.Config.Raw)
	name, password := cmp.Or(text(config["name_prefix"]), defaultPrefix)+random(), rand.Text()
	taken := &lease{Name: name, TTL: defaultTTL}
	if asked, err := time.ParseDuration(text(config["ttl"])); err == nil {
		taken.TTL = asked
	}
	document, err := e.make(waiting, config, taken, password)
	if err != nil {
		if waiting.Err() != nil {
			err = fmt.Errorf("it was not ready when the waiting ended (timeouts.open is %s). %s",
				shortDuration(limit), messageOf(document))
		}
		e.of.report(&resp.Diagnostics, "make", err)
		return
	}
	remembered, err := json.Marshal(taken)
	if err == nil {
		resp.Diagnostics.Append(resp.Private.SetKey(ctx, leaseKey, remembered)...)
		resp.Result.Raw, err = e.result(ctx, config, name, password, document)
	}
	if err != nil || resp.Diagnostics.HasError() {
		e.drop(ctx, taken)
		e.of.report(&resp.Diagnostics, "make", err)
		return
	}
	resp.RenewAt = taken.renewal()
}

// make makes the user and waits until it can log in. It leaves none behind when it fails, as far as it can:
// Terraform closes only what it could open.
func (e *EphemeralUser) make(
	ctx context.Context, config values, taken *lease, password string,
) (client.Object, error) {
	body, err := e.of.facts.body(config, config, false)
	if err != nil {
		return nil, err
	}
	body["password"], body["expires_at"] = password, taken.expiry()
	key := taken.Name
	if host := text(config["host"]); host != "" {
		key += "@" + host
	}
	here := maps.Clone(config)
	here[e.of.facts.Key] = tftypes.NewValue(tftypes.String, key)
	taken.Path = e.of.facts.byName(here)
	document, err := e.of.settings.client.Create(ctx, taken.Path, body)
	if problem := client.AsProblem(err); problem != nil && problem.Unsure &&
		problem.Status == http.StatusPreconditionFailed { // a random name is taken by nobody but a lost attempt
		document, err = e.of.settings.client.Get(ctx, taken.Path)
	}
	if err != nil {
		return nil, err
	}
	here["id"] = tftypes.NewValue(tftypes.String, document["id"])
	taken.Path = e.of.facts.byID(here)
	document, err = e.of.waitUntilReady(ctx, here, document)
	if err != nil {
		e.drop(context.WithoutCancel(ctx), taken)
	}
	return document, err
}

// result is the configuration with what was made up.
func (e *EphemeralUser) result(
	ctx context.Context, config values, name, password string, document client.Object,
) (tftypes.Value, error) {
	kind := e.schema.Type().TerraformType(ctx).(tftypes.Object)
	made := maps.Clone(config)
	made["name"] = tftypes.NewValue(tftypes.String, name)
	made["password"] = tftypes.NewValue(tftypes.String, password)
	uris := values{}
	listed, _ := dig(document, []string{"status", "uris"}).(client.Object)
	for database, bare := range listed {
		uri, err := url.Parse(fmt.Sprint(bare))
		if err != nil {
			return tftypes.Value{}, fmt.Errorf("the control plane sent a URI that is none: %w", err)
		}
		uri.User = url.UserPassword(uri.User.Username(), password)
		uris[database] = tftypes.NewValue(tftypes.String, uri.String())
	}
	made["uris"] = tftypes.NewValue(kind.AttributeTypes["uris"], uris)
	return tftypes.NewValue(kind, made), nil
}

func (e *EphemeralUser) Renew(ctx context.Context, req ephemeral.RenewRequest, resp *ephemeral.RenewResponse) {
	remembered, diags := req.Private.GetKey(ctx, leaseKey)
	resp.Diagnostics.Append(diags...)
	var held lease
	if err := json.Unmarshal(remembered, &held); err != nil {
		e.of.report(&resp.Diagnostics, "renew", err)
		return
	}
	_, err := e.of.settings.client.Patch(ctx, held.Path, client.Object{"expires_at": held.expiry()})
	resp.RenewAt = held.renewal()
	if client.IsPassing(err) { // there was half of its time left: soon once more
		resp.RenewAt = time.Now().Add(held.TTL / 10)
	} else if err != nil {
		e.of.report(&resp.Diagnostics, "renew", err)
	}
}

// Close drops the user and waits until it is gone. Where it cannot be, the run need not fail: the user expires.
func (e *EphemeralUser) Close(ctx context.Context, req ephemeral.CloseRequest, resp *ephemeral.CloseResponse) {
	remembered, diags := req.Private.GetKey(ctx, leaseKey)
	resp.Diagnostics.Append(diags...)
	var held lease
	err := json.Unmarshal(remembered, &held)
	if err == nil {
		err = e.drop(ctx, &held)
	}
	if err != nil {
		resp.Diagnostics.AddWarning(fmt.Sprintf("The %s %q is not dropped yet", e.of.facts.title(), held.Name),
			fmt.Sprintf("It expires, at the latest in %s, and the control plane drops it then. %s",
				shortDuration(held.TTL), sentence(err)))
	}
}

func (e *EphemeralUser) drop(ctx context.Context, held *lease) error {
	ctx, cancel := context.WithTimeout(ctx, dropping)
	defer cancel()
	document, err := e.of.settings.client.Delete(ctx, held.Path)
	if err != nil || document == nil {
		return err
	}
	return e.of.waitUntilGone(ctx, held.Path, document)
}

// random is a part of a name that no other run has: 60 bits.
func random() string { return strings.ToLower(rand.Text()[:12]) }
