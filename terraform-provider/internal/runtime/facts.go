// Package runtime is the behaviour of every resource and data source, written once over the tables
// (Facts) that codegen takes from the OpenAPI document.
package runtime

import (
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// Facts is what the runtime must know of a resource beside its schema.
type Facts struct {
	// Type is the type's name without the provider's prefix, such as "database".
	Type string
	// Path of one resource, with attributes' names in braces; the last one is the key.
	Path string
	// Parents are the attributes in Path that name the resources around this one, outermost first.
	Parents []string
	// Key is the attribute that is the resource's name.
	Key string
	// Fields are the attributes that the API knows; timeouts and parents are not among them.
	Fields []Field
	// Fixed are the attributes whose change makes a new resource; the parents are not among them.
	Fixed [][]string
	// Restarts: a change may restart engines, so there is on_restart.
	Restarts bool
	// Waits: the resource has a status that says when it is ready.
	Waits bool
	// Timeout is the default of each operation's timeout.
	Timeout time.Duration
	// EventsOf is the attribute that names the instance whose events explain an error; may be empty.
	EventsOf string
	// Include is the query that reads a resource with all that is inside it: this one or, where Around is its path,
	// the parent, whose list Among has this one. They are empty when the API has no such thing.
	Include string
	Around  string
	Among   string
	// Filters are those of the list that has resources like this.
	Filters []Filter
}

// Field ties an attribute to its place in the API's JSON.
type Field struct {
	Attr string
	// JSON is the path of the value in the resource's document, such as status, phase.
	JSON []string
	// Sent: the value belongs to the client and is part of a PUT's body.
	Sent bool
	// Object: the value has attributes of its own.
	Object bool
	// Map: the value has names of its own.
	Map bool
	// Stable: the value is the server's and stays as it is once there is one.
	Stable bool
	// Whole is the attribute that has, and sends, this value together with the provider block's defaults.
	Whole string
	// SecretOf is, for a write-only attribute, the attribute whose change makes it be sent.
	SecretOf string
}

type values = map[string]tftypes.Value

// title is the type in words.
func (f *Facts) title() string { return strings.ReplaceAll(f.Type, "_", " ") }

// at fills the names in braces with the attributes.
func (f *Facts) at(path string, attributes values) string {
	for _, name := range f.names() {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(text(attributes[name])))
	}
	return path
}

// listPath is the path of the list that the resource is in.
func (f *Facts) listPath(attributes values) string {
	path, _, _ := strings.Cut(f.Path, "/{"+f.Key+"}")
	return f.at(path, attributes)
}

// byName is the path of the resource that has the attributes' name.
func (f *Facts) byName(attributes values) string { return f.at(f.Path, attributes) }

// byID is the path of this very incarnation; by name while the id is not known (import).
func (f *Facts) byID(attributes values) string {
	id := text(attributes["id"])
	if id == "" {
		return f.byName(attributes)
	}
	return f.at(strings.Replace(f.Path, "{"+f.Key+"}", url.PathEscape(id), 1), attributes)
}

// text is a string attribute's value; empty when null or unknown.
func text(value tftypes.Value) string {
	var s *string
	if !value.IsKnown() || value.Type() == nil || value.As(&s) != nil || s == nil {
		return ""
	}
	return *s
}
