package runtime

import (
	"context"
	"fmt"
	"net/url"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/list"
	listschema "github.com/hashicorp/terraform-plugin-framework/list/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

var _ list.ListResourceWithConfigure = &Resource{}

// Filter is a query parameter of a resource's list.
type Filter struct {
	Name        string
	Description string
	// Repeated: it is sent once for each of a list's elements.
	Repeated bool
}

// ListResourceConfigSchema has the parents, which must be given, and the list's filters.
func (r *Resource) ListResourceConfigSchema(
	_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse,
) {
	attributes := map[string]listschema.Attribute{}
	for _, name := range r.facts.Parents {
		attributes[name] = listschema.StringAttribute{
			Required:            true,
			MarkdownDescription: r.schema.Attributes[name].GetMarkdownDescription(),
		}
	}
	for _, filter := range r.facts.Filters {
		if filter.Repeated {
			attributes[filter.Name] = listschema.ListAttribute{
				Optional: true, ElementType: types.StringType, MarkdownDescription: filter.Description,
			}
		} else {
			attributes[filter.Name] = listschema.StringAttribute{
				Optional: true, MarkdownDescription: filter.Description,
			}
		}
	}
	resp.Schema = listschema.Schema{
		MarkdownDescription: fmt.Sprintf("Finds each %s, for `terraform query`.", r.facts.title()),
		Attributes:          attributes,
	}
}

// List finds what can be imported. What is in an engine but in nobody's care cannot be.
func (r *Resource) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	config := attributesOf(req.Config.Raw)
	documents, err := r.settings.client.List(ctx, r.facts.listPath(config)+r.facts.query(config))
	if err != nil {
		var diags diag.Diagnostics
		r.report(&diags, "list", err)
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	stream.Results = func(push func(list.ListResult) bool) {
		left := req.Limit
		for _, document := range documents {
			if managed, shown := dig(document, []string{"status", "managed"}).(bool); shown && !managed {
				continue
			}
			if left == 0 || !push(r.listed(ctx, document, config, req)) {
				return
			}
			left--
		}
	}
}

func (r *Resource) listed(
	ctx context.Context, document client.Object, config values, req list.ListRequest,
) list.ListResult {
	result := req.NewListResult(ctx)
	parents := values{}
	for _, name := range r.facts.Parents {
		parents[name] = config[name]
	}
	kind := r.kind(ctx)
	made, err := r.facts.state(document, parents, kind)
	if err != nil {
		r.report(&result.Diagnostics, "list", err)
		return result
	}
	r.ownLabels(made, parents)
	r.identify(ctx, result.Identity, made)
	result.DisplayName = r.facts.importID(made)
	if req.IncludeResource {
		result.Resource.Raw = tftypes.NewValue(kind, made)
	}
	return result
}

// query is that of the filters which are set.
func (f *Facts) query(config values) string {
	query := url.Values{}
	for _, filter := range f.Filters {
		item, err := toJSON(config[filter.Name])
		if err != nil || item == nil {
			continue
		}
		if many, ok := item.([]any); ok {
			for _, one := range many {
				query.Add(filter.Name, fmt.Sprint(one))
			}
		} else {
			query.Set(filter.Name, fmt.Sprint(item))
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
