package runtime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// nameTaken says that a create found another resource under its name.
type nameTaken struct {
	facts   *Facts
	plan    values
	problem *client.Problem
	// differing are the attributes that kept it from being taken over; none when nobody asked for that.
	differing []string
}

func (n *nameTaken) Error() string {
	name := text(n.plan[n.facts.Key])
	if n.problem.ID == "" { // in the engine, but in nobody's care
		return fmt.Sprintf("The engine has a %s %q that nobody manages here. Choose another name, or take it over by"+
			" `adopt = true` in the provider block.%s", n.facts.title(), name, n.problem.Origin())
	}
	differing := ""
	if len(n.differing) > 0 {
		differing = fmt.Sprintf(" It was not taken over, since it is not as the configuration says: %s differs.",
			strings.Join(n.differing, ", "))
	}
	return fmt.Sprintf("The name %q is taken by the %s with the id %s.%s Choose another name, or take over"+
		" the existing one by adding this to the configuration (NAME being the resource's name there):\n\n"+
		"import {\n  to = coffret_%s.NAME\n  id = %q\n}%s",
		name, n.facts.title(), n.problem.ID, differing,
		n.facts.Type, n.facts.importID(n.plan), n.problem.Origin())
}

// importID is how a resource is named for import: its name after its parents'.
func (f *Facts) importID(attributes values) string {
	var parts []string
	for _, name := range f.names() {
		parts = append(parts, text(attributes[name]))
	}
	return strings.Join(parts, "/")
}

// report turns an error into diagnostics; one for each bad field where the control plane names them.
func (r *Resource) report(diags *diag.Diagnostics, doing string, err error) {
	summary := fmt.Sprintf("Cannot %s the %s", doing, r.facts.title())
	var failure *failed
	if errors.As(err, &failure) {
		summary = fmt.Sprintf("The %s is in ERROR", r.facts.title())
		detail := failure.Error()
		if doing == "create" {
			detail += fmt.Sprintf("\n\nIt exists and is marked as tainted: the next apply deletes it and makes"+
				" another one. To repair it in place instead, say so first (NAME being the resource's name in"+
				" the configuration), then change what was wrong and apply:\n\n"+
				"  terraform untaint coffret_%s.NAME", r.facts.Type)
		}
		diags.AddError(summary, detail)
		return
	}
	problem := client.AsProblem(err)
	if doing == "delete" && problem != nil && problem.Code == "in_use" {
		diags.AddError(summary, sentence(problem)+"\n\nIt was still so at the end of timeouts.delete. If this very apply is to end the use, Terraform deletes first"+
			" and changes later. Let it do so the other way round: give the "+r.facts.title()+
			" `lifecycle { create_before_destroy = true }`, apply, and only then remove it.")
		return
	}
	if problem == nil || len(problem.Errors) == 0 {
		diags.AddError(summary, sentence(err))
		return
	}
	for _, field := range problem.Errors {
		detail := field.Detail + problem.Origin()
		if at, ok := r.facts.attributeAt(field.Pointer); ok {
			diags.AddAttributeError(at, summary, detail)
		} else {
			diags.AddError(summary, strings.TrimSpace(field.Pointer+" "+detail))
		}
	}
}

// sentence starts an error's text with a capital, as Terraform shows it.
func sentence(err error) string {
	words := err.Error()
	if words == "" {
		return words
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// attributeAt is the attribute that a JSON pointer into the body leads to, as deep as objects and maps go.
func (f *Facts) attributeAt(pointer string) (path.Path, bool) {
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for _, field := range f.Fields {
		if field.JSON[0] != steps[0] || len(field.JSON) > 1 {
			continue
		}
		at := path.Root(field.Attr)
		for _, step := range steps[1:] {
			step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
			if field.Map {
				at = at.AtMapKey(step)
				break
			}
			if _, err := strconv.Atoi(step); err == nil || !field.Object {
				break // an element, and sets have no positions
			}
			at = at.AtName(step)
		}
		return at, true
	}
	return path.Empty(), false
}

// warnUnready says that Terraform stopped waiting and the control plane did not stop working.
func (r *Resource) warnUnready(
	diags *diag.Diagnostics, doing string, attributes values, document client.Object,
) {
	phase, _ := dig(document, []string{"status", "phase"}).(string)
	detail := fmt.Sprintf("The %s %q was not ready (phase %s) at the end of timeouts.%s. It is saved in the"+
		" state and the control plane goes on working; the next plan shows how far it is.",
		r.facts.title(), text(attributes[r.facts.Key]), phase, doing)
	if message := messageOf(document); message != "" {
		detail += "\n\n" + message
	}
	diags.AddWarning(fmt.Sprintf("The %s is not ready yet", r.facts.title()), detail)
}

// known says whether a value is known and not null.
func known(value tftypes.Value) bool { return value.IsKnown() && !value.IsNull() }
