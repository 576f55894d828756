package provider

import (
	"context"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func TestANullArgumentMayBeSentAsNothing(t *testing.T) {
	host, err := tfprotov6.NewDynamicValue(tftypes.String, tftypes.NewValue(tftypes.String, "db"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := Server("test").CallFunction(context.Background(), &tfprotov6.CallFunctionRequest{
		Name: "mysql_uri", Arguments: []*tfprotov6.DynamicValue{&host, {}, {}, nil, {}},
	})
	if err != nil || answer.Error != nil {
		t.Fatal(err, answer.Error)
	}
	result, err := answer.Result.Unmarshal(tftypes.String)
	if want := tftypes.NewValue(tftypes.String, "mysql://db"); err != nil || !result.Equal(want) {
		t.Errorf("%v, %v", result, err)
	}
}
