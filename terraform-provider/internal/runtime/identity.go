package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// names are the attributes that say which resource it is: its name, after its parents'.
func (f *Facts) names() []string { return append(slices.Clone(f.Parents), f.Key) }

// IdentitySchema has the names that the path of the resource has. They can change: Metadata says so.
func (r *Resource) IdentitySchema(
	_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse,
) {
	attributes := map[string]identityschema.Attribute{}
	for _, name := range r.facts.names() {
		attributes[name] = identityschema.StringAttribute{
			RequiredForImport: true,
			Description:       r.schema.Attributes[name].GetMarkdownDescription(),
		}
	}
	resp.IdentitySchema = identityschema.Schema{Attributes: attributes}
}

// identify puts the attributes' names into an identity.
func (r *Resource) identify(ctx context.Context, identity *tfsdk.ResourceIdentity, attributes values) {
	named := values{}
	for _, name := range r.facts.names() {
		named[name] = attributes[name]
	}
	identity.Raw = tftypes.NewValue(identity.Schema.Type().TerraformType(ctx), named)
}

// ImportState takes an identity, or as an ID the name after its parents' names: `orders-db/orders`.
func (r *Resource) ImportState(
	ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse,
) {
	names := r.facts.names()
	parts := strings.SplitN(req.ID, "/", len(names))
	if req.ID == "" {
		identity := attributesOf(req.Identity.Raw)
		for i, name := range names {
			parts = append(parts[:i], text(identity[name]))
		}
	}
	for i, name := range names {
		if len(parts) != len(names) || parts[i] == "" {
			resp.Diagnostics.AddError("The import ID has another shape",
				fmt.Sprintf("A %s is imported as %q; %q is not that.", r.facts.title(), strings.Join(names, "/"), req.ID))
			return
		}
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root(name), parts[i])...)
	}
}
