package runtime

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// ModifyPlan checks what a schema cannot say: secrets that must be there, and parents that are the same
// under another name; and what the control plane foresees.
func (r *Resource) ModifyPlan(
	ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse,
) {
	if req.Plan.Raw.IsNull() {
		r.foreseeDelete(ctx, attributesOf(req.State.Raw), &resp.Diagnostics)
		return
	}
	plan, config, prior := attributesOf(req.Plan.Raw), attributesOf(req.Config.Raw), attributesOf(req.State.Raw)
	if r.planLabels(plan, prior) && !req.State.Raw.IsNull() {
		r.forget(plan)
	}
	resp.Plan.Raw = tftypes.NewValue(r.kind(ctx), plan)
	for _, field := range r.facts.Fields {
		if field.SecretOf == "" || !config[field.Attr].IsNull() {
			continue
		}
		if req.State.Raw.IsNull() {
			resp.Diagnostics.AddAttributeError(path.Root(field.Attr), "Missing "+field.Attr,
				fmt.Sprintf("A new %s needs %s.", r.facts.title(), field.Attr))
		} else if !plan[field.SecretOf].Equal(prior[field.SecretOf]) {
			resp.Diagnostics.AddAttributeError(path.Root(field.Attr), "Missing "+field.Attr,
				fmt.Sprintf("Another %s says that there is another %s; set it.", field.SecretOf, field.Attr))
		}
	}
	for _, parent := range r.facts.Parents {
		if req.State.Raw.IsNull() || plan[parent].Equal(prior[parent]) {
			continue
		}
		if !plan[parent].IsKnown() || r.isElsewhere(ctx, plan, prior) {
			resp.RequiresReplace = append(resp.RequiresReplace, path.Root(parent))
		}
	}
	r.foresee(ctx, req, resp, plan, config, prior)
}

// isElsewhere says whether the plan's parents are other resources than the state's, and not the same ones
// by another name or by their id. When the parent does not exist it may be about to get that name, so the
// answer is no: the update then fails if it is another one, which is better than to lose what is inside.
func (r *Resource) isElsewhere(ctx context.Context, plan, prior values) bool {
	here := values{"id": prior["id"], r.facts.Key: prior[r.facts.Key]}
	for _, parent := range r.facts.Parents {
		here[parent] = plan[parent]
	}
	if r.settings.client == nil {
		return false
	}
	_, err := r.settings.client.Get(ctx, r.facts.byID(here))
	if !client.IsNotFound(err) {
		return false
	}
	siblings := r.facts.listPath(here)
	_, err = r.settings.client.Get(ctx, siblings[:strings.LastIndex(siblings, "/")])
	return err == nil
}
