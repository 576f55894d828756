package runtime

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// body is what a PUT sends: everything the client owns, and the secret when withSecret.
func (f *Facts) body(plan, config values, withSecret bool) (client.Object, error) {
	body := client.Object{}
	for _, field := range f.Fields {
		value := plan[field.Attr]
		if field.SecretOf != "" {
			if !withSecret {
				continue
			}
			value = config[field.Attr] // write-only values are in the configuration alone
		} else if !field.Sent {
			continue
		}
		item, err := toJSON(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.Attr, err)
		}
		if item != nil {
			body[field.JSON[0]] = item
		}
	}
	return body, nil
}

// state is the resource as the document says it; attributes that the API does not know, such as
// parents and timeouts, are kept from prior.
func (f *Facts) state(document client.Object, prior values, kind tftypes.Object) (values, error) {
	made := make(values, len(kind.AttributeTypes))
	for name, t := range kind.AttributeTypes {
		if value, ok := prior[name]; ok {
			made[name] = value
		} else {
			made[name] = tftypes.NewValue(t, nil)
		}
	}
	for _, field := range f.Fields {
		t := kind.AttributeTypes[field.Attr]
		if field.SecretOf != "" {
			made[field.Attr] = tftypes.NewValue(t, nil)
			continue
		}
		value, err := fromJSON(dig(document, field.JSON), t, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.Attr, err)
		}
		made[field.Attr] = value
	}
	return made, nil
}

// spellings remembers values that the API says in another way than they were written, such as
// privileges in capitals: by attribute, the JSON that the API answered. While it answers the same, the
// state keeps what was written; so there is no perpetual difference, and real drift is still seen.
type spellings map[string]json.RawMessage

const spellingsKey = "spellings"

// settle puts into made every value that the plan knows, as Terraform demands of what a write returns,
// and returns how the API spells those that differ.
func (f *Facts) settle(made, plan values, document client.Object) (spellings, error) {
	found := spellings{}
	for name, planned := range plan {
		if planned.IsFullyKnown() && !planned.Equal(made[name]) {
			if field := f.field(name); field != nil && field.Sent {
				answered, err := json.Marshal(dig(document, field.JSON))
				if err != nil {
					return nil, err
				}
				found[name] = answered
			}
			made[name] = planned
		}
	}
	return found, nil
}

// keep restores the prior spelling of values that are still what the API made of them.
func (f *Facts) keep(made, prior values, remembered []byte, document client.Object) {
	var known spellings
	if json.Unmarshal(remembered, &known) != nil {
		return // nothing was remembered
	}
	for name, before := range known {
		field := f.field(name)
		if field == nil {
			continue // an attribute of an older version of the provider
		}
		answered, err := json.Marshal(dig(document, field.JSON))
		if err == nil && bytes.Equal(answered, before) {
			made[name] = prior[name]
		}
	}
}

func (f *Facts) field(attr string) *Field {
	for i := range f.Fields {
		if f.Fields[i].Attr == attr {
			return &f.Fields[i]
		}
	}
	return nil
}
