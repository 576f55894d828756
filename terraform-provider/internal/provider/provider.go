// Package provider is the provider itself: its configuration and the lists of what it offers.
package provider

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

const (
	endpointVariable = "COFFRET_ENDPOINT"
	tokenVariable    = "COFFRET_TOKEN"
)

type coffret struct{ version string }

// New returns a function that makes the provider, as the plugin server wants it.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &coffret{version} }
}

func (p *coffret) Metadata(
	_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse,
) {
	resp.TypeName, resp.Version = "coffret", p.version
}

func (p *coffret) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Databases as a service for OpenStack, by a Coffret control plane.",
		Attributes: map[string]schema.Attribute{
			"endpoint": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "URL of the control plane, such as `http://127.0.0.1:8779`." +
					" Default: the environment variable `" + endpointVariable + "`.",
			},
			"token": schema.StringAttribute{
				Optional:  true,
				Sensitive: true,
				MarkdownDescription: "Token of the API, made by `coffret token create`." +
					" Default: the environment variable `" + tokenVariable + "`.",
			},
		},
	}
}

func (p *coffret) Configure(
	ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse,
) {
	setting := func(name, variable string) string {
		var value types.String
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root(name), &value)...)
		switch {
		case value.IsUnknown():
			resp.Diagnostics.AddAttributeError(path.Root(name), "Unknown "+name,
				fmt.Sprintf("The %s is known only after apply. Set it to a value that is known at plan time,"+
					" or leave it out and set %s.", name, variable))
		case value.ValueString() != "":
			return value.ValueString()
		case os.Getenv(variable) == "":
			resp.Diagnostics.AddAttributeError(path.Root(name), "Missing "+name,
				fmt.Sprintf("Set %s in the provider block, or the environment variable %s.", name, variable))
		}
		return os.Getenv(variable)
	}
	endpoint, token := setting("endpoint", endpointVariable), setting("token", tokenVariable)
	if resp.Diagnostics.HasError() {
		return
	}
	agent := fmt.Sprintf("terraform-provider-coffret/%s terraform/%s", p.version, req.TerraformVersion)
	made, err := client.New(endpoint, token, agent)
	if err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("endpoint"), "Unusable endpoint", err.Error())
		return
	}
	resp.ResourceData, resp.DataSourceData = made, made
}

func (p *coffret) Resources(context.Context) []func() resource.Resource { return resources }

func (p *coffret) DataSources(context.Context) []func() datasource.DataSource { return dataSources }
