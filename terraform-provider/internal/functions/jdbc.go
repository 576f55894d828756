package functions

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/function"
)

// jdbc makes jdbc:datastore://host:port/database?options, where user and password are options.
type jdbc struct{}

var drivers = []string{"postgresql", "mysql", "mariadb"}

func (jdbc) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "jdbc_url"
}

func (jdbc) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	needed, last := parameters("Name of the database.")
	datastore := function.StringParameter{Name: "datastore", MarkdownDescription: "Whose driver connects: `" +
		strings.Join(drivers, "`, `") + "`."}
	resp.Definition = function.Definition{
		Summary: "JDBC URL for PostgreSQL, MySQL and MariaDB",
		MarkdownDescription: "Returns `jdbc:datastore://host:port/database?options`, with every part escaped and" +
			" without those that are null. User and password are among the options, as the drivers of all three" +
			" take them.",
		Parameters:        append([]function.Parameter{datastore}, needed...),
		VariadicParameter: last,
		Return:            function.StringReturn{},
	}
}

func (jdbc) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var s service
	var datastore string
	if resp.Error = req.Arguments.Get(ctx, append([]any{&datastore}, s.into()...)...); resp.Error != nil {
		return
	}
	if !slices.Contains(drivers, datastore) {
		resp.Error = function.NewArgumentFuncError(0,
			fmt.Sprintf("%q is not one of %s", datastore, strings.Join(drivers, ", ")))
		return
	}
	place, fault := s.place(1)
	if fault != nil {
		resp.Error = fault
		return
	}
	options := map[string]*string{"user": s.user}
	if len(s.password) > 0 {
		options["password"] = &s.password[0]
	}
	for name, value := range s.options {
		if name == "user" || name == "password" {
			resp.Error = function.NewArgumentFuncError(5, fmt.Sprintf("%s is an argument of its own, not an option", name))
			return
		}
		options[name] = value
	}
	path := s.path()
	if path == "" {
		path = "/" // the drivers want one before options
	}
	resp.Error = resp.Result.Set(ctx, "jdbc:"+datastore+"://"+place+path+query(options))
}
