package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// fromJSON makes a Terraform value of a JSON value. A list, set or map that is empty inside a set's
// element becomes null: sets compare whole elements, and the framework cannot put defaults into them.
func fromJSON(value any, kind tftypes.Type, insideSet bool) (tftypes.Value, error) {
	if value == nil {
		return tftypes.NewValue(kind, nil), nil
	}
	switch t := kind.(type) {
	case tftypes.List:
		return collection(value, kind, t.ElementType, insideSet)
	case tftypes.Set:
		return collection(value, kind, t.ElementType, insideSet)
	case tftypes.Map:
		object, ok := value.(client.Object)
		if !ok {
			return mismatch(value, "an object")
		}
		if insideSet && len(object) == 0 {
			return tftypes.NewValue(kind, nil), nil
		}
		return members(object, kind, func(string) tftypes.Type { return t.ElementType }, insideSet)
	case tftypes.Object:
		object, ok := value.(client.Object)
		if !ok {
			return mismatch(value, "an object")
		}
		complete := make(client.Object, len(t.AttributeTypes))
		for name := range t.AttributeTypes {
			complete[name] = object[name]
		}
		return members(complete, kind, func(name string) tftypes.Type { return t.AttributeTypes[name] }, insideSet)
	}
	return scalar(value, kind)
}

func scalar(value any, kind tftypes.Type) (tftypes.Value, error) {
	switch {
	case kind.Is(tftypes.String):
		switch v := value.(type) {
		case string:
			return tftypes.NewValue(kind, v), nil
		case json.Number:
			return tftypes.NewValue(kind, v.String()), nil
		case bool:
			return tftypes.NewValue(kind, fmt.Sprint(v)), nil
		}
		return mismatch(value, "a string")
	case kind.Is(tftypes.Number):
		number, ok := value.(json.Number)
		if !ok {
			return mismatch(value, "a number")
		}
		exact, _, err := big.ParseFloat(number.String(), 10, 512, big.ToNearestEven)
		if err != nil {
			return mismatch(value, "a number")
		}
		return tftypes.NewValue(kind, exact), nil
	case kind.Is(tftypes.Bool):
		flag, ok := value.(bool)
		if !ok {
			return mismatch(value, "true or false")
		}
		return tftypes.NewValue(kind, flag), nil
	}
	return mismatch(value, kind.String())
}

func collection(value any, kind, element tftypes.Type, insideSet bool) (tftypes.Value, error) {
	listed, ok := value.([]any)
	if !ok {
		return mismatch(value, "a list")
	}
	if insideSet && len(listed) == 0 {
		return tftypes.NewValue(kind, nil), nil
	}
	elements := make([]tftypes.Value, 0, len(listed))
	for _, item := range listed {
		made, err := fromJSON(item, element, insideSet || kind.Is(tftypes.Set{}))
		if err != nil {
			return made, err
		}
		elements = append(elements, made)
	}
	return tftypes.NewValue(kind, elements), nil
}

func members(
	object client.Object, kind tftypes.Type, typeOf func(string) tftypes.Type, insideSet bool,
) (tftypes.Value, error) {
	made := make(values, len(object))
	for name, item := range object {
		member, err := fromJSON(item, typeOf(name), insideSet)
		if err != nil {
			return member, fmt.Errorf("%s: %w", name, err)
		}
		made[name] = member
	}
	return tftypes.NewValue(kind, made), nil
}

func mismatch(value any, wanted string) (tftypes.Value, error) {
	return tftypes.Value{}, fmt.Errorf("the control plane sent %T where %s belongs", value, wanted)
}

// toJSON makes a JSON value of a known Terraform value. Null members of objects are left out: to the
// API what is left out has its default, and every default that Terraform does not fill in is null.
func toJSON(value tftypes.Value) (any, error) {
	if value.IsNull() {
		return nil, nil
	}
	kind := value.Type()
	switch {
	case kind.Is(tftypes.String):
		var s string
		err := value.As(&s)
		return s, err
	case kind.Is(tftypes.Bool):
		var b bool
		err := value.As(&b)
		return b, err
	case kind.Is(tftypes.Number):
		number := new(big.Float)
		err := value.As(&number)
		if number.IsInt() {
			return json.Number(number.Text('f', 0)), err
		}
		return json.Number(number.Text('g', -1)), err
	case kind.Is(tftypes.List{}), kind.Is(tftypes.Set{}):
		var elements []tftypes.Value
		if err := value.As(&elements); err != nil {
			return nil, err
		}
		listed := make([]any, 0, len(elements))
		for _, element := range elements {
			item, err := toJSON(element)
			if err != nil {
				return nil, err
			}
			listed = append(listed, item)
		}
		return listed, nil
	}
	var attributes values
	if err := value.As(&attributes); err != nil {
		return nil, err
	}
	object := make(client.Object, len(attributes))
	for name, attribute := range attributes {
		item, err := toJSON(attribute)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if item != nil {
			object[name] = item
		}
	}
	return object, nil
}

// dig follows a path of names into a document; nil where it ends early.
func dig(document client.Object, path []string) any {
	var value any = document
	for _, name := range path {
		object, ok := value.(client.Object)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}

// attributesOf opens the object of a plan, a state or a configuration, or a map; empty when it is null or unknown.
func attributesOf(raw tftypes.Value) values {
	attributes := values{}
	if !raw.IsNull() && raw.IsKnown() {
		_ = raw.As(&attributes) // fails for what is neither
	}
	return maps.Clone(attributes) // As returns the value's own
}
