package runtime

import (
	"maps"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Labels stand in the state twice: those of the resource block, and all that the resource has, which is what
// is sent (docs/decisions/0013-default-labels.md).

// planLabels plans all labels: the provider block's, and the plan's own over them. A label that is null takes a
// default away. It says whether these are others than those of prior.
func (r *Resource) planLabels(plan, prior values) bool {
	changed := false
	for _, field := range r.facts.Fields {
		if field.Whole == "" {
			continue
		}
		kind := plan[field.Whole].Type()
		whole := tftypes.NewValue(kind, tftypes.UnknownValue)
		if plan[field.Attr].IsKnown() && r.settings.defaultLabels.IsKnown() {
			labels := attributesOf(r.settings.defaultLabels)
			maps.Copy(labels, attributesOf(plan[field.Attr]))
			maps.DeleteFunc(labels, func(_ string, value tftypes.Value) bool { return value.IsNull() })
			whole = tftypes.NewValue(kind, labels)
		}
		plan[field.Whole] = whole
		changed = changed || !whole.Equal(prior[field.Whole])
	}
	return changed
}

// forget makes unknown what an update may change beside what it is asked to. The framework does so for changes
// of the configuration alone, not for those of the provider block.
func (r *Resource) forget(plan values) {
	for _, field := range r.facts.Fields {
		attribute := r.schema.Attributes[field.Attr]
		if attribute.IsComputed() && !attribute.IsOptional() && !field.Sent && !(field.Stable && filled(plan[field.Attr])) {
			plan[field.Attr] = tftypes.NewValue(plan[field.Attr].Type(), tftypes.UnknownValue)
		}
	}
}

// filled says whether a value is neither null nor an empty list.
func filled(value tftypes.Value) bool {
	var listed []tftypes.Value
	return known(value) && (value.As(&listed) != nil || len(listed) > 0)
}

// ownLabels takes out of a read resource's own labels those that come from the provider block, now or when the
// state was written. What nobody here asked for stays in and is drift.
func (r *Resource) ownLabels(made, prior values) {
	for _, field := range r.facts.Fields {
		if field.Whole == "" {
			continue
		}
		asked := attributesOf(prior[field.Attr])
		own := attributesOf(made[field.Attr])
		for _, given := range []tftypes.Value{r.settings.defaultLabels, prior[field.Whole]} {
			for name := range attributesOf(given) {
				if _, ok := asked[name]; !ok {
					delete(own, name)
				}
			}
		}
		for name, value := range asked {
			if _, ok := own[name]; !ok && value.IsNull() {
				own[name] = value
			}
		}
		made[field.Attr] = tftypes.NewValue(made[field.Attr].Type(), own)
	}
}
