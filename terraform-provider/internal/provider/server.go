package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// Server returns what Terraform and OpenTofu speak to.
func Server(version string) tfprotov6.ProviderServer {
	return served{providerserver.NewProtocol6(New(version)())().(framework)}
}

// framework is all that the framework serves.
type framework interface {
	tfprotov6.ProviderServerWithListResource
	tfprotov6.ActionServer
}

type served struct{ framework }

// CallFunction fills in what OpenTofu (up to 1.12 at least) sends for a null argument: neither MessagePack nor JSON.
func (s served) CallFunction(
	ctx context.Context, req *tfprotov6.CallFunctionRequest,
) (*tfprotov6.CallFunctionResponse, error) {
	for i, argument := range req.Arguments {
		if argument == nil || len(argument.MsgPack)+len(argument.JSON) == 0 {
			req.Arguments[i] = &tfprotov6.DynamicValue{JSON: []byte("null")}
		}
	}
	return s.framework.CallFunction(ctx, req)
}
