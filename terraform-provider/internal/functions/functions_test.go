package functions

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// call runs the function of this name; nil is null.
func call(t *testing.T, name string, arguments ...any) (string, *function.FuncError) {
	t.Helper()
	for _, make := range All() {
		var called function.MetadataResponse
		made := make()
		made.Metadata(context.Background(), function.MetadataRequest{}, &called)
		if called.Name != name {
			continue
		}
		var defined function.DefinitionResponse
		made.Definition(context.Background(), function.DefinitionRequest{}, &defined)
		answer := function.RunResponse{Result: function.NewResultData(types.StringUnknown())}
		values := valuesOf(arguments, len(defined.Definition.Parameters))
		made.Run(context.Background(), function.RunRequest{Arguments: function.NewArgumentsData(values)}, &answer)
		if answer.Error != nil {
			return "", answer.Error
		}
		return answer.Result.Value().(types.String).ValueString(), nil
	}
	t.Fatalf("there is no function %s", name)
	return "", nil
}

func valuesOf(arguments []any, parameters int) []attr.Value {
	var values []attr.Value
	for i, argument := range arguments {
		switch a := argument.(type) {
		case string:
			values = append(values, types.StringValue(a))
		case int:
			values = append(values, types.Int64Value(int64(a)))
		case map[string]any:
			elements := map[string]attr.Value{}
			for name, value := range a {
				text, isText := value.(string)
				elements[name] = types.StringValue(text)
				if !isText {
					elements[name] = types.StringNull()
				}
			}
			values = append(values, types.MapValueMust(types.StringType, elements))
		default:
			values = append(values, null(i, parameters))
		}
	}
	rest := values[parameters:]
	kinds := make([]attr.Type, len(rest))
	for i := range rest {
		kinds[i] = types.StringType
	}
	return append(values[:parameters:parameters], types.TupleValueMust(kinds, rest))
}

// null is that of the parameter's type: options come last, and the port is the fourth before the end.
func null(i, parameters int) attr.Value {
	switch i {
	case parameters - 1:
		return types.MapNull(types.StringType)
	case parameters - 4:
		return types.Int64Null()
	}
	return types.StringNull()
}

func TestAURIHasEachPartEscaped(t *testing.T) {
	for _, c := range []struct {
		want      string
		function  string
		arguments []any
	}{
		{"postgresql://app@db.example.com:5432/orders", "postgresql_uri",
			[]any{"db.example.com", 5432, "orders", "app", nil}},
		{"postgresql://10.0.0.5", "postgresql_uri", []any{"10.0.0.5", nil, nil, nil, nil}},
		{"postgresql://[2001:db8::5]:5432/orders", "postgresql_uri", []any{"2001:db8::5", 5432, "orders", nil, nil}},
		{"postgresql://[2001:db8::5]:5432", "postgresql_uri", []any{"[2001:db8::5]", 5432, nil, nil, nil}},
		{"postgresql://[fe80::1%25eth0]:5432", "postgresql_uri", []any{"fe80::1%eth0", 5432, nil, nil, nil}},
		{"postgresql://a%40b%3Ac%2Fd%20e%2Bf@h:1/%C3%BC%3F%23%25", "postgresql_uri",
			[]any{"h", 1, "ü?#%", "a@b:c/d e+f", nil}},
		{"postgresql://app:p%40ss%3A%2F%3F%23%5B%5D%25@h:1/orders?a%26b=c%3Dd%26e&sslmode=require", "postgresql_uri",
			[]any{"h", 1, "orders", "app", map[string]any{"sslmode": "require", "a&b": "c=d&e", "unset": nil}, "p@ss:/?#[]%"}},
		{"mysql://app@[::1]:3306/orders?charset=utf8mb4", "mysql_uri",
			[]any{"::1", 3306, "orders", "app", map[string]any{"charset": "utf8mb4"}}},
		{"redis://:p%20w@cache:6379/0", "redis_uri", []any{"cache", 6379, "0", nil, nil, "p w"}},
		{"redis://app@cache:6379", "redis_uri", []any{"cache", 6379, nil, "app", map[string]any{}}},
		{"jdbc:postgresql://[::1]:5432/or%20ders?password=p%26w%2B&sslmode=require&user=a%3Db", "jdbc_url",
			[]any{"postgresql", "::1", 5432, "or ders", "a=b", map[string]any{"sslmode": "require"}, "p&w+"}},
		{"jdbc:mariadb://db/?useSsl=true", "jdbc_url",
			[]any{"mariadb", "db", nil, nil, nil, map[string]any{"useSsl": "true"}}},
	} {
		got, fault := call(t, c.function, c.arguments...)
		if fault != nil || got != c.want {
			t.Errorf("%s%v is %q, not %q (%v)", c.function, c.arguments, got, c.want, fault)
		}
	}
}

func TestAnArgumentThatCannotBeIsNamed(t *testing.T) {
	for _, c := range []struct {
		at        int64
		says      string
		function  string
		arguments []any
	}{
		{0, "the port is an argument of its own", "postgresql_uri", []any{"db:5432", nil, nil, nil, nil}},
		{0, `"db/x"`, "mysql_uri", []any{"db/x", nil, nil, nil, nil}},
		{0, `"evil@db"`, "redis_uri", []any{"evil@db", nil, nil, nil, nil}},
		{0, `""`, "redis_uri", []any{"", nil, nil, nil, nil}},
		{1, "0 is no port", "mysql_uri", []any{"db", 0, nil, nil, nil}},
		{1, "65536 is no port", "mysql_uri", []any{"db", 65536, nil, nil, nil}},
		{6, "nothing comes after it", "mysql_uri", []any{"db", 1, nil, nil, nil, "a", "b"}},
		{0, `"valkey" is not one of postgresql`, "jdbc_url", []any{"valkey", "db", 1, nil, nil, nil}},
		{1, `"d b"`, "jdbc_url", []any{"mysql", "d b", 1, nil, nil, nil}},
		{2, "70000", "jdbc_url", []any{"mysql", "db", 70000, nil, nil, nil}},
		{5, "user is an argument of its own", "jdbc_url", []any{"mysql", "db", 1, nil, "a", map[string]any{"user": "b"}}},
	} {
		got, fault := call(t, c.function, c.arguments...)
		if fault == nil || *fault.FunctionArgument != c.at || !strings.Contains(fault.Text, c.says) {
			t.Errorf("%s%v is %q; it says %v", c.function, c.arguments, got, fault)
		}
	}
}
