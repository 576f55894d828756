package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// askedKey is set in the planned private state once a plan has asked, or will not ask. Terraform plans a
// replacement twice, the second time as a create with what was private in the first.
const askedKey = "asked"

// foresee puts into the plan what the control plane says that the planned change would do, in a dry run
// (docs/api/dry-run.md). What depends on values that are not known yet is left for the plan that Terraform makes
// of each resource once more, right before it is applied.
func (r *Resource) foresee(
	ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse, plan, config, prior values,
) {
	diags := &resp.Diagnostics
	if r.settings.client == nil || !r.settings.client.Usable() || diags.HasError() {
		return
	}
	if req.State.Raw.IsNull() {
		asked, more := req.Private.GetKey(ctx, askedKey)
		diags.Append(more...)
		r.settings.run.plans(text(plan[r.facts.Key]))
		if body := r.knownBody(plan, config, true, diags); body != nil && asked == nil {
			document, err := r.settings.client.TryCreate(ctx, r.facts.byName(plan), body)
			r.foretell(diags, "create", body, plan, document, err)
		}
		return
	}
	r.settings.run.meets(text(prior["id"]))
	secret := r.newSecret(plan, prior)
	moved := slices.ContainsFunc(r.facts.Parents, func(name string) bool { return !plan[name].Equal(prior[name]) })
	if !moved && !secret && !r.changes(plan, prior) {
		return
	}
	r.settings.run.plans(text(plan[r.facts.Key]))
	diags.Append(resp.Private.SetKey(ctx, askedKey, []byte("true"))...)
	switch {
	case moved: // to another parent, or to the same one by another name, as isElsewhere has found out
	case r.isReplaced(plan, prior):
		r.foreseeDelete(ctx, prior, diags)
	default:
		if body := r.knownBody(plan, config, secret, diags); body != nil {
			document, err := r.settings.client.TryReplace(ctx, r.facts.byID(prior), body)
			r.foretell(diags, "update", body, plan, document, err)
		}
	}
}

// foreseeDelete is foresee where the plan is to delete.
func (r *Resource) foreseeDelete(ctx context.Context, prior values, diags *diag.Diagnostics) {
	if r.settings.client == nil || !r.settings.client.Usable() {
		return
	}
	r.settings.run.meets(text(prior["id"]))
	document, err := r.settings.client.TryDelete(ctx, r.facts.byID(prior))
	r.foretell(diags, "delete", nil, prior, document, err)
}

// knownBody is what a PUT will send; nil while a part of it is not known.
func (r *Resource) knownBody(plan, config values, secret bool, diags *diag.Diagnostics) client.Object {
	for _, name := range r.facts.names() {
		if !known(plan[name]) {
			return nil
		}
	}
	for _, field := range r.facts.Fields {
		if field.Sent && !plan[field.Attr].IsFullyKnown() ||
			secret && field.SecretOf != "" && !config[field.Attr].IsFullyKnown() {
			return nil
		}
	}
	body, err := r.facts.body(plan, config, secret)
	if err != nil {
		r.report(diags, "plan", err)
	}
	return body
}

// changes says whether what is sent differs from what the state has.
func (r *Resource) changes(plan, prior values) bool {
	return slices.ContainsFunc(r.facts.Fields, func(field Field) bool {
		return field.Sent && !ordered(plan[field.Attr]).Equal(ordered(prior[field.Attr]))
	})
}

// isReplaced says whether the plan changes what a resource keeps as long as it lives.
func (r *Resource) isReplaced(plan, prior values) bool {
	return slices.ContainsFunc(r.facts.Fixed, func(steps []string) bool {
		before, after := prior[steps[0]], plan[steps[0]]
		for _, step := range steps[1:] {
			before, after = attributesOf(before)[step], attributesOf(after)[step]
		}
		return !ordered(before).Equal(ordered(after))
	})
}

// foretell turns the answer to a dry run into diagnostics.
func (r *Resource) foretell(
	diags *diag.Diagnostics, doing string, body client.Object, plan values, document client.Object, err error,
) {
	problem := client.AsProblem(err)
	switch {
	case err == nil:
		listed, _ := document["impact"].([]any)
		for _, item := range listed {
			if impact, ok := item.(client.Object); ok {
				r.warn(diags, doing, impact, text(plan[onRestart]))
			}
		}
	case problem == nil || !refuses(problem):
		diags.AddWarning("The plan is not checked",
			fmt.Sprintf("What it does to the %s %q cannot be foreseen. %s",
				r.facts.title(), text(plan[r.facts.Key]), sentence(err)))
	case problem.Status == http.StatusPreconditionFailed:
		// On an update it is gone since it was read, and the apply says so.
		if doing == "create" && !r.settings.adopt && !r.settings.run.has(problem.ID) {
			r.report(diags, doing, &nameTaken{facts: &r.facts, plan: plan, problem: problem})
		}
	case problem.Status == http.StatusNotFound:
		r.missing(diags, doing, plan, problem)
	case problem.Status == http.StatusConflict && (problem.RetryAfter > 0 || problem.Code == "in_use"):
		// It passes, or this very plan may end the use.
	default:
		r.refuse(diags, doing, body, problem)
	}
}

// refuses says whether a problem speaks of the change, rather than of the way to the control plane or the caller.
func refuses(problem *client.Problem) bool {
	switch problem.Status {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return true
	case http.StatusForbidden:
		return problem.Code == "quota_exceeded"
	}
	return client.IsNotFound(problem)
}

// missing tells of a parent that is not there, unless this plan makes it.
func (r *Resource) missing(diags *diag.Diagnostics, doing string, plan values, problem *client.Problem) {
	made := func(name string) bool { return r.settings.run.makes(text(plan[name])) }
	if parents := r.facts.Parents; doing == "create" && len(parents) > 0 && !slices.ContainsFunc(parents, made) {
		diags.AddAttributeWarning(path.Root(parents[len(parents)-1]), mayFail, unlessRighted(problem.Detail, problem))
	}
}

func unlessRighted(detail string, problem *client.Problem) string {
	return detail + "\n\nUnless another change of the same plan puts this right, it will be refused." + problem.Origin()
}

const mayFail = "The apply may fail"

// references are fields that name resources. Another provider block may make or change these, and what its plan
// has is not seen here; so what is wrong with them is a warning only.
var references = []string{"configuration_group", "database", "datastore", "default_version", "owner", "version"}

// refuse tells of a change that the control plane refuses: as an error, but for what other changes of the same
// plan may put right.
func (r *Resource) refuse(diags *diag.Diagnostics, doing string, body client.Object, problem *client.Problem) {
	hard := *problem
	hard.Errors = nil
	for _, field := range problem.Errors {
		steps := strings.Split(strings.TrimPrefix(field.Pointer, "/"), "/")
		at, ok := r.facts.attributeAt(field.Pointer)
		if !ok || !slices.Contains(references, steps[len(steps)-1]) {
			hard.Errors = append(hard.Errors, field)
		} else if !r.settings.run.makes(named(body, steps)) {
			diags.AddAttributeWarning(at, mayFail, unlessRighted(field.Detail, problem))
		}
	}
	if at, ok := quotas[problem.Resource]; ok {
		diags.AddAttributeError(at, fmt.Sprintf("Cannot %s the %s", doing, r.facts.title()), sentence(problem))
	} else if len(hard.Errors) > 0 || len(problem.Errors) == 0 {
		r.report(diags, doing, &hard)
	}
}

// quotas are the attributes that use what is limited.
var quotas = map[string]path.Path{
	"ram": path.Root("flavor"), "volume_size": path.Root("volume").AtName("size"),
}

// warn tells of one entry of an impact, unless it takes nothing from anybody; and of a delete that leaves in an
// engine what it was to take away.
func (r *Resource) warn(diags *diag.Diagnostics, doing string, impact client.Object, restarts string) {
	effect, _ := impact["effect"].(string)
	instances, _ := impact["instances"].([]any)
	if doing == "delete" && effect == "none" && len(instances) > 0 {
		diags.AddWarning(fmt.Sprintf("The %s stays in the engine", r.facts.title()), describe(impact))
	}
	if effect == "none" || effect == "online" {
		return
	}
	summary, detail := effects[effect], describe(impact)
	if summary == "" {
		summary = "The change is not without effect: " + effect
	}
	pointer, _ := impact["path"].(string)
	at, _ := r.facts.attributeAt(pointer)
	switch {
	case !interrupts(effect) || restarts != "allow" && restarts != "forbid":
		diags.AddAttributeWarning(at, summary, detail)
	case restarts == "forbid":
		diags.AddAttributeError(at, summary+", which on_restart forbids",
			detail+"\n\nTo let it happen, set `on_restart` to \"warn\" or \"allow\".")
	}
}

var effects = map[string]string{
	"restart": "The engine restarts", "resize": "The server is resized", "rebuild": "The server is made anew",
	"failover": "Another server takes over", "data_loss": "Data goes for good",
}

func interrupts(effect string) bool { return effect != "data_loss" }

// describe says an entry of an impact in words.
func describe(impact client.Object) string {
	said := fmt.Sprint(impact["sentence"])
	var names []string
	instances, _ := impact["instances"].([]any)
	for _, name := range instances {
		names = append(names, fmt.Sprint(name))
	}
	if len(names) > 0 {
		said += "\n\nInstances: " + strings.Join(names, ", ")
	}
	if seconds, ok := impact["interruption"].(json.Number); ok {
		said += fmt.Sprintf("\nEstimated interruption: %s s", strings.TrimSuffix(seconds.String(), ".0"))
	}
	return said
}

// named is the text at a JSON pointer's place in a body; empty where there is none.
func named(body client.Object, steps []string) string {
	var here any = body
	for _, step := range steps {
		switch value := here.(type) {
		case client.Object:
			here = value[step]
		case []any:
			var at int
			if _, err := fmt.Sscanf(step, "%d", &at); err != nil || at < 0 || at >= len(value) {
				return ""
			}
			here = value[at]
		default:
			return ""
		}
	}
	name, _ := here.(string)
	return name
}
