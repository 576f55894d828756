package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// taken answers a create whose name is taken: with the resource when it is the one that an earlier, unanswered
// attempt of this create has made, or when it may be taken over; else with an error that says how to import it.
func (r *Resource) taken(
	ctx context.Context, problem *client.Problem, plan values, body client.Object, diags *diag.Diagnostics,
) (client.Object, error) {
	refused := &nameTaken{facts: &r.facts, plan: plan, problem: problem}
	if !problem.Unsure && !r.settings.adopt {
		return nil, refused
	}
	if problem.ID == "" && r.settings.adopt { // in the engine, but in nobody's care: there is nothing to compare
		document, err := r.settings.client.Adopt(ctx, r.facts.byName(plan), body)
		return r.adopted(document, err, plan, diags)
	}
	document, err := r.settings.client.Get(ctx, r.facts.byName(plan))
	if err != nil {
		return nil, err
	}
	refused.differing, err = r.differing(ctx, document, plan)
	if err != nil || len(refused.differing) > 0 {
		return nil, cmp.Or[error](err, refused)
	}
	if generation, _ := document["generation"].(json.Number); problem.Unsure && generation == "1" {
		return document, nil
	}
	if !r.settings.adopt {
		return nil, refused
	}
	// Sent although nothing differs that can be read: secrets cannot be.
	here := maps.Clone(plan)
	here["id"] = tftypes.NewValue(tftypes.String, document["id"])
	document, err = r.settings.client.Replace(ctx, r.facts.byID(here), body)
	return r.adopted(document, err, plan, diags)
}

func (r *Resource) adopted(
	document client.Object, err error, plan values, diags *diag.Diagnostics,
) (client.Object, error) {
	if err == nil {
		diags.AddWarning(fmt.Sprintf("The %s was there already", r.facts.title()),
			fmt.Sprintf("The %s %q, with the id %v, was not made but taken over, as adopt in the provider block says.",
				r.facts.title(), text(plan[r.facts.Key]), document["id"]))
	}
	return document, err
}

// differing are the attributes that the document has otherwise than the plan.
func (r *Resource) differing(ctx context.Context, document client.Object, plan values) ([]string, error) {
	found, err := r.facts.state(document, plan, r.kind(ctx))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, field := range r.facts.Fields {
		if field.Sent && !ordered(found[field.Attr]).Equal(ordered(plan[field.Attr])) {
			names = append(names, field.Attr)
		}
	}
	return names, nil
}

// ordered brings the elements of all sets in a value into one order, since tftypes compares them by position.
func ordered(value tftypes.Value) tftypes.Value {
	sorted, err := tftypes.Transform(value, func(_ *tftypes.AttributePath, part tftypes.Value) (tftypes.Value, error) {
		var elements []tftypes.Value
		if !part.Type().Is(tftypes.Set{}) || !known(part) {
			return part, nil
		}
		err := part.As(&elements)
		elements = slices.SortedFunc(slices.Values(elements), func(one, other tftypes.Value) int {
			return strings.Compare(one.String(), other.String())
		})
		return tftypes.NewValue(part.Type(), elements), err
	})
	if err != nil {
		return value
	}
	return sorted
}
