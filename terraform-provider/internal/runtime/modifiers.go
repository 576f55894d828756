package runtime

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
)

// UseNonEmptyStateForUnknown keeps a computed list in the plan of an update, unless it is empty as the
// endpoints of an instance are that has no address yet.
func UseNonEmptyStateForUnknown() planmodifier.List { return useNonEmptyState{} }

type useNonEmptyState struct{}

func (useNonEmptyState) Description(context.Context) string {
	return "Once it has elements, the list stays as it is."
}

func (m useNonEmptyState) MarkdownDescription(ctx context.Context) string { return m.Description(ctx) }

func (useNonEmptyState) PlanModifyList(
	_ context.Context, req planmodifier.ListRequest, resp *planmodifier.ListResponse,
) {
	if req.PlanValue.IsUnknown() && !req.ConfigValue.IsUnknown() && len(req.StateValue.Elements()) > 0 {
		resp.PlanValue = req.StateValue
	}
}
