package runtime

import (
	"context"
	"fmt"
	"net/url"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// Lookup is what the runtime must know of a data source.
type Lookup struct {
	Facts
	// ListPath is where a list is read, with parents in braces; empty when only one is read by name.
	ListPath string
	// Filters are the attributes that become the list's query parameters of the same name.
	Filters []string
	// Items is the attribute that takes the whole list; empty: the first item is the result.
	Items string
}

// DataSource is any data source of the provider.
type DataSource struct {
	lookup Lookup
	schema schema.Schema
	client *client.Client
}

var _ datasource.DataSourceWithConfigure = &DataSource{}

// NewDataSource ties facts and schema together.
func NewDataSource(lookup Lookup, attributes schema.Schema) datasource.DataSource {
	return &DataSource{lookup: lookup, schema: attributes}
}

func (d *DataSource) Metadata(
	_ context.Context, req datasource.MetadataRequest, resp *datasource.MetadataResponse,
) {
	resp.TypeName = req.ProviderTypeName + "_" + d.lookup.Type
}

func (d *DataSource) Schema(
	_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse,
) {
	resp.Schema = d.schema
}

func (d *DataSource) Configure(
	_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse,
) {
	d.client, _ = req.ProviderData.(*client.Client)
}

func (d *DataSource) Read(
	ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse,
) {
	config := attributesOf(req.Config.Raw)
	kind := d.schema.Type().TerraformType(ctx).(tftypes.Object)
	made, err := d.read(ctx, config, kind)
	if err != nil {
		report(&resp.Diagnostics, d.lookup.title(), err)
		return
	}
	for name, value := range config {
		if !value.IsNull() {
			made[name] = value // as it was written: a name may have been given as an id
		}
	}
	resp.State.Raw = tftypes.NewValue(kind, made)
}

func (d *DataSource) read(ctx context.Context, config values, kind tftypes.Object) (values, error) {
	facts := &d.lookup.Facts
	if d.lookup.ListPath == "" || text(config[facts.Key]) != "" {
		document, err := d.client.Get(ctx, facts.byName(config))
		if err != nil {
			return nil, err
		}
		return facts.state(document, config, kind)
	}
	listed, err := d.client.List(ctx, facts.at(d.lookup.ListPath, config)+d.query(config))
	if err != nil {
		return nil, err
	}
	if d.lookup.Items != "" {
		items := make([]any, len(listed))
		for i, item := range listed {
			items[i] = item
		}
		return facts.state(client.Object{d.lookup.Items: items}, config, kind)
	}
	if len(listed) == 0 {
		return nil, fmt.Errorf("there is no %s that fits%s; ask for less", facts.title(), d.query(config))
	}
	return facts.state(listed[0], config, kind)
}

func (d *DataSource) query(config values) string {
	query := url.Values{}
	for _, name := range d.lookup.Filters {
		if item, err := toJSON(config[name]); err == nil && item != nil {
			query.Set(name, fmt.Sprint(item))
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

func report(diags *diag.Diagnostics, title string, err error) {
	diags.AddError("Cannot read the "+title, sentence(err))
}
