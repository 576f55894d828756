package runtime

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func decode(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

var (
	texts = tftypes.Set{ElementType: tftypes.String}
	grant = tftypes.Object{AttributeTypes: map[string]tftypes.Type{"database": tftypes.String, "keys": texts}}
)

func TestValuesComeBackAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		kind tftypes.Type
		text string
	}{
		{tftypes.String, `"a"`},
		{tftypes.String, `null`},
		{tftypes.Number, `65536`},
		{tftypes.Number, `9223372036854775807`},
		{tftypes.Number, `1000000000000`},
		{tftypes.Number, `0.25`},
		{tftypes.Bool, `false`},
		{texts, `[]`},
		{texts, `["a","b"]`},
		{tftypes.Map{ElementType: tftypes.String}, `{}`},
		{tftypes.List{ElementType: tftypes.Number}, `[3,1]`},
		{grant, `{"database":"orders","keys":[]}`},
		{tftypes.Set{ElementType: grant}, `[{"database":"orders","keys":["a"]}]`},
	} {
		value, err := fromJSON(decode(t, c.text), c.kind, false)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		back, err := toJSON(value)
		if err != nil || !reflect.DeepEqual(back, decode(t, c.text)) {
			t.Errorf("%s came back as %#v, %v", c.text, back, err)
		}
	}
}

func TestScalarsOfAParameterBecomeStrings(t *testing.T) {
	value, err := fromJSON(decode(t, `{"a": 200, "b": true, "c": "64MB", "d": 1.5}`),
		tftypes.Map{ElementType: tftypes.String}, false)
	if err != nil {
		t.Fatal(err)
	}
	back, _ := toJSON(value)
	want := map[string]any{"a": "200", "b": "true", "c": "64MB", "d": "1.5"}
	if !reflect.DeepEqual(back, want) {
		t.Errorf("%v", back)
	}
}

func TestAnEmptyCollectionInsideASetsElementIsNull(t *testing.T) {
	value, err := fromJSON(decode(t, `[{"database": "orders", "keys": []}]`), tftypes.Set{ElementType: grant}, false)
	if err != nil {
		t.Fatal(err)
	}
	back, _ := toJSON(value)
	if want := []any{map[string]any{"database": "orders"}}; !reflect.DeepEqual(back, want) {
		t.Errorf("%v", back)
	}
}

func TestAnAnswerOfAnotherShapeIsAnError(t *testing.T) {
	for text, kind := range map[string]tftypes.Type{
		`{}`: tftypes.String, `"1"`: tftypes.Number, `1`: tftypes.Bool, `"a"`: texts, `[1, {}]`: texts, `[]`: grant,
	} {
		if value, err := fromJSON(decode(t, text), kind, false); err == nil {
			t.Errorf("%s became %v", text, value)
		}
	}
}
