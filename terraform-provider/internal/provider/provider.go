// Package provider is the provider itself: its configuration and the lists of what it offers.
package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
	"github.com/coffret/terraform-provider-coffret/internal/functions"
	"github.com/coffret/terraform-provider-coffret/internal/login"
	"github.com/coffret/terraform-provider-coffret/internal/runtime"
)

type coffret struct{ version string }

var (
	_ provider.ProviderWithValidateConfig     = &coffret{}
	_ provider.ProviderWithActions            = &coffret{}
	_ provider.ProviderWithEphemeralResources = &coffret{}
	_ provider.ProviderWithFunctions          = &coffret{}
	_ provider.ProviderWithListResources      = &coffret{}
)

// New returns a function that makes the provider, as the plugin server wants it.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &coffret{version} }
}

func (p *coffret) Metadata(
	_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse,
) {
	resp.TypeName, resp.Version = "coffret", p.version
}

// arguments are those that are strings, named as in the provider of OpenStack itself, with what they are.
var arguments = []struct{ name, what string }{
	{"application_credential_id", "Id of an application credential."},
	{"application_credential_name", "Name of an application credential, which needs its user too."},
	{"application_credential_secret", "Secret of the application credential."},
	{"auth_url", "URL of Keystone, such as `https://keystone.example.com:5000/v3`."},
	{"cacert_file", "File with the CA that signs the certificates of Keystone and the control plane, or the PEM" +
		" text itself. Where it is not set the system's CAs count."},
	{"cert", "File with the certificate to show as a client, or the PEM text itself."},
	{"cloud", "Name of a cloud in `clouds.yaml`."},
	{"endpoint", "URL of the control plane, such as `http://127.0.0.1:8779`. Where it is not set it comes from" +
		" Keystone's catalogue, as the service type `database`."},
	{"endpoint_type", "Which of the catalogue's URLs is used: `public`, `internal` or `admin`. Where it is not set:" +
		" `public`."},
	{"key", "File with the key of `cert`, or the PEM text itself."},
	{"password", "Password of the user."},
	{"project_domain_id", "Id of the domain of the project."},
	{"project_domain_name", "Name of the domain of the project. Where it is not set it is the user's."},
	{"region", "Region of the control plane in the catalogue."},
	{"tenant_id", "Id of the project to work in."},
	{"tenant_name", "Name of the project to work in."},
	{"token", "A token of Keystone, or of the control plane's own (`cfrt_…`, made by `coffret token create`), which" +
		" goes with `endpoint` and needs no Keystone."},
	{"user_domain_id", "Id of the domain of the user. Where no domain is set it is `default`."},
	{"user_domain_name", "Name of the domain of the user."},
	{"user_id", "Id of the user."},
	{"user_name", "Name of the user."},
}

var secrets = []string{"application_credential_secret", "key", "password", "token"}

func (p *coffret) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	attributes := map[string]schema.Attribute{
		"insecure": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "Whether to trust any certificate." + defaultOf("insecure"),
		},
	}
	for _, argument := range arguments {
		attribute := schema.StringAttribute{
			Optional:            true,
			Sensitive:           slices.Contains(secrets, argument.name),
			MarkdownDescription: argument.what + defaultOf(argument.name),
		}
		if argument.name == "endpoint_type" {
			attribute.Validators = []validator.String{stringvalidator.OneOf(
				"public", "publicURL", "internal", "internalURL", "admin", "adminURL")}
		}
		attributes[argument.name] = attribute
	}
	attributes["adopt"] = schema.BoolAttribute{
		Optional: true,
		MarkdownDescription: "Whether a create may take over what is there already under that name. It does so where" +
			" all that can be read is as the configuration says, and sends the password of a user. What is in the" +
			" engine but in nobody's care is taken over as it is and made what the configuration says. Where it is" +
			" not set: `false`, and a taken name is an error.",
	}
	attributes["default_labels"] = schema.MapAttribute{
		Optional:    true,
		ElementType: types.StringType,
		MarkdownDescription: "Labels for all resources that have labels, under their own: a resource's label of the" +
			" same name counts more, and one that is null takes the default away.",
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "Databases as a service for OpenStack, by a Coffret control plane.",
		Attributes:          attributes,
	}
}

func defaultOf(argument string) string {
	return " Environment: `" + strings.Join(login.Variables(argument), "`, `") + "`."
}

func (p *coffret) ValidateConfig(
	ctx context.Context, req provider.ValidateConfigRequest, resp *provider.ValidateConfigResponse,
) {
	given, _ := read(ctx, req.Config, &resp.Diagnostics)
	for _, fault := range login.Contradictions(given) {
		report(&resp.Diagnostics, fault)
	}
}

func (p *coffret) Configure(
	ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse,
) {
	given, unknown := read(ctx, req.Config, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	var block map[string]tftypes.Value
	_ = req.Config.Raw.As(&block) // fails for what is no object, and a block is one
	if len(unknown) > 0 {
		if req.ClientCapabilities.DeferralAllowed {
			resp.Deferred = &provider.Deferred{Reason: provider.DeferredReasonProviderConfigUnknown}
			return
		}
		// What is new can be planned all the same.
		made := client.Unusable(fmt.Errorf("the provider block has values that are known only after apply: %s."+
			" Resources that exist already cannot be read until then; apply what the values come from first (by"+
			" -target), or set them to what is known at plan time", strings.Join(unknown, ", ")))
		hand(resp, made, block)
		return
	}
	agent := fmt.Sprintf("terraform-provider-coffret/%s terraform/%s", p.version, req.TerraformVersion)
	made, err := login.Connect(ctx, given, agent)
	if err != nil {
		report(&resp.Diagnostics, err)
		return
	}
	hand(resp, made, block)
}

// hand gives what is offered its client and its settings.
func hand(resp *provider.ConfigureResponse, made *client.Client, block map[string]tftypes.Value) {
	settings := runtime.NewSettings(made, block)
	resp.ResourceData, resp.ListResourceData = settings, settings
	resp.EphemeralResourceData, resp.ActionData = settings, settings
	resp.DataSourceData = made
}

// read returns the arguments that are set, and the names of those whose values are not known yet.
func read(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) (map[string]string, []string) {
	given := map[string]string{}
	var unknown []string
	for _, argument := range arguments {
		var value types.String
		diags.Append(config.GetAttribute(ctx, path.Root(argument.name), &value)...)
		if value.IsUnknown() {
			unknown = append(unknown, argument.name)
		}
		given[argument.name] = value.ValueString()
	}
	var insecure types.Bool
	diags.Append(config.GetAttribute(ctx, path.Root("insecure"), &insecure)...)
	if insecure.IsUnknown() {
		unknown = append(unknown, "insecure")
	} else if !insecure.IsNull() {
		given["insecure"] = strconv.FormatBool(insecure.ValueBool())
	}
	return given, unknown
}

func report(diags *diag.Diagnostics, err error) {
	var fault *login.Fault
	switch {
	case !errors.As(err, &fault):
		diags.AddError("Cannot log in", err.Error())
	case fault.Argument == "":
		diags.AddError(fault.Summary, fault.Detail)
	default:
		diags.AddAttributeError(path.Root(fault.Argument), fault.Summary, fault.Detail)
	}
}

func (p *coffret) Resources(context.Context) []func() resource.Resource { return resources }

func (p *coffret) DataSources(context.Context) []func() datasource.DataSource { return dataSources }

// ListResources are all resources: each of them lists those that are like it.
func (p *coffret) ListResources(context.Context) []func() list.ListResource {
	var lists []func() list.ListResource
	for _, make := range resources {
		lists = append(lists, func() list.ListResource { return make().(list.ListResource) })
	}
	return lists
}

func (p *coffret) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return ephemeralResources
}

func (p *coffret) Actions(context.Context) []func() action.Action { return actions }

func (p *coffret) Functions(context.Context) []func() function.Function { return functions.All() }
