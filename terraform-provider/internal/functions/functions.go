// Package functions has the provider's functions: connection URIs, escaped as each of them demands.
package functions

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// All makes the functions, as the provider offers them.
func All() []func() function.Function {
	return []func() function.Function{
		func() function.Function { return uri{"postgresql", "PostgreSQL", "Name of the database."} },
		func() function.Function { return uri{"mysql", "MySQL and MariaDB", "Name of the database."} },
		func() function.Function { return uri{"redis", "Valkey and Redis", "Number of the database."} },
		func() function.Function { return jdbc{} },
	}
}

// service is what a client connects to, and how.
type service struct {
	host     string
	port     *int64
	database *string
	user     *string
	options  map[string]*string
	password []string
}

// into is where arguments are read to, in the order of parameters.
func (s *service) into() []any {
	return []any{&s.host, &s.port, &s.database, &s.user, &s.options, &s.password}
}

const password = "Password. A sensitive or an ephemeral one makes the result so too; leave it out where the result" +
	" goes into a state or an output."

// parameters are those of each function; the password is variadic since it may be left out.
func parameters(ofDatabase string) ([]function.Parameter, function.Parameter) {
	return []function.Parameter{
		function.StringParameter{Name: "host", MarkdownDescription: "Host name or address, such as that of an" +
			" instance's endpoint. An IPv6 address gets its brackets."},
		function.Int64Parameter{Name: "port", AllowNullValue: true, MarkdownDescription: "Port. Null: the driver's own."},
		function.StringParameter{Name: "database", AllowNullValue: true, MarkdownDescription: ofDatabase + " Null: none."},
		function.StringParameter{Name: "user", AllowNullValue: true, MarkdownDescription: "Name of the user. Null: none."},
		function.MapParameter{Name: "options", AllowNullValue: true, ElementType: types.StringType,
			MarkdownDescription: "Parameters of the driver, such as `{ sslmode = \"require\" }`; what is null is left" +
				" out. Null: none."},
	}, function.StringParameter{Name: "password", MarkdownDescription: password}
}

// place is the host with its port, as in RFC 3986 and RFC 6874, or what is wrong with an argument. The host is
// the argument at first.
func (s *service) place(first int64) (string, *function.FuncError) {
	host, err := bracketed(s.host)
	switch {
	case err != nil:
		return "", function.NewArgumentFuncError(first, err.Error())
	case len(s.password) > 1:
		return "", function.NewArgumentFuncError(first+6, "The password is the last argument; nothing comes after it")
	case s.port == nil:
		return host, nil
	case *s.port < 1 || *s.port > 65535:
		return "", function.NewArgumentFuncError(first+1, fmt.Sprintf("%d is no port; ports are from 1 to 65535", *s.port))
	}
	return fmt.Sprintf("%s:%d", host, *s.port), nil
}

func bracketed(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	address, err := netip.ParseAddr(bare)
	switch {
	case err == nil && address.Is6():
		digits, zone, _ := strings.Cut(bare, "%")
		if zone != "" {
			digits += "%25" + escape(zone)
		}
		return "[" + digits + "]", nil
	case err == nil:
		return bare, nil
	case isName(host):
		return host, nil
	}
	return "", fmt.Errorf("%q is neither a host name nor an address; the port is an argument of its own", host)
}

func isName(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// query writes names and values that are set, sorted by name.
func query(options map[string]*string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if value := options[name]; value != nil {
			parts = append(parts, escape(name)+"="+escape(*value))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + strings.Join(parts, "&")
}

// escape leaves RFC 3986's unreserved characters alone. A space is %20 everywhere: a plus is one in forms only.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
