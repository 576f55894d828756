package functions

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/function"
)

// uri makes scheme://user:password@host:port/database?options.
type uri struct{ scheme, engines, ofDatabase string }

func (f uri) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = f.scheme + "_uri"
}

func (f uri) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	needed, last := parameters(f.ofDatabase)
	resp.Definition = function.Definition{
		Summary: fmt.Sprintf("Connection URI for %s", f.engines),
		MarkdownDescription: fmt.Sprintf("Returns `%s://user:password@host:port/database?options`, with every part escaped"+
			" and without those that are null.", f.scheme),
		Parameters:        needed,
		VariadicParameter: last,
		Return:            function.StringReturn{},
	}
}

func (f uri) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var s service
	if resp.Error = req.Arguments.Get(ctx, s.into()...); resp.Error != nil {
		return
	}
	place, fault := s.place(0)
	if fault != nil {
		resp.Error = fault
		return
	}
	resp.Error = resp.Result.Set(ctx, f.scheme+"://"+s.userInfo()+place+s.path()+query(s.options))
}

func (s *service) userInfo() string {
	info := ""
	if s.user != nil {
		info = escape(*s.user)
	}
	if len(s.password) > 0 {
		info += ":" + escape(s.password[0])
	}
	if info == "" {
		return ""
	}
	return info + "@"
}

func (s *service) path() string {
	if s.database == nil {
		return ""
	}
	return "/" + escape(*s.database)
}
