package login

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// Connect returns a client for the control plane that the provider block, the environment and clouds.yaml
// name, in this order (docs/index.md says it in full). Its error is a Fault where the user can mend it.
func Connect(ctx context.Context, arguments map[string]string, userAgent string) (*client.Client, error) {
	block, environment := fromBlock(arguments), fromEnvironment()
	all := sources{block, environment}
	if token := all.get("token"); strings.HasPrefix(token.text, own) {
		if _, inBlock := block["token"]; inBlock || len(sources{block}.pick(keystones...)) == 0 {
			return withOwnToken(token, all, userAgent)
		}
		// The block names a cloud: what belongs to the other control plane is left out as one.
		delete(environment, "token")
		delete(environment, "endpoint")
	}
	from := &findings{credentials: sources{block, environment}, settings: sources{block, environment}}
	var ca *tls.Config
	if name := cloudName(block, environment); name.text != "" {
		found, err := fromClouds(name)
		if err != nil {
			return nil, err
		}
		ca = found.tls
		from.scope = found.scope
		from.credentials = sources{block, found.settings, environment}
		from.settings = sources{block, environment, found.settings}
	}
	secure, err := secured(all, ca)
	if err != nil {
		return nil, err
	}
	return from.connect(ctx, client.NewHTTP(secure), userAgent)
}

// cloudName is the cloud that the block names, else that of OS_CLOUD; but one Keystone is not to be asked
// with the credentials of another.
func cloudName(block, environment source) value {
	if name, ok := block["cloud"]; ok {
		return name
	}
	if _, ok := block["auth_url"]; ok {
		return value{}
	}
	return environment["cloud"]
}

func withOwnToken(token value, all sources, userAgent string) (*client.Client, error) {
	endpoint := all.get("endpoint")
	if endpoint.text == "" {
		return nil, &Fault{"endpoint", "Missing endpoint", fmt.Sprintf("The token, which is %s, is one of a control"+
			" plane's own, and does not say where that is. Set `endpoint` in the provider block, or the environment"+
			" variable COFFRET_ENDPOINT, to its URL, such as http://127.0.0.1:8779.", token.origin)}
	}
	secure, err := secured(all, nil)
	if err != nil {
		return nil, err
	}
	return at(endpoint, client.Token{Value: token.text, Origin: token.origin}, client.NewHTTP(secure), userAgent)
}

func at(
	endpoint value, credential client.Credential, web *http.Client, userAgent string,
) (*client.Client, error) {
	made, err := client.New(endpoint.text, credential, web, userAgent)
	if err != nil {
		return nil, &Fault{"endpoint", "Unusable endpoint", "In " + endpoint.origin + ": " + err.Error()}
	}
	return made, nil
}

// findings are what was read. For credentials a cloud counts more than the environment, which only fills what is
// missing there; for the way to it the environment counts more.
type findings struct {
	credentials, settings sources
	scope                 *gophercloud.AuthScope
}

func (f *findings) connect(ctx context.Context, web *http.Client, userAgent string) (*client.Client, error) {
	method, secret := f.credentials.method()
	address, endpoint := f.credentials.get("auth_url"), f.settings.get("endpoint")
	kind, known := interfaces[f.settings.get("endpoint_type").text]
	switch {
	case method == "" || (address.text == "" && (method != "token" || endpoint.text == "")):
		return nil, f.missing(method, secret, address)
	case !known:
		return nil, &Fault{"endpoint_type", "Unusable endpoint_type", fmt.Sprintf("%q, of %s, is none of public,"+
			" internal and admin.", f.settings.get("endpoint_type").text, f.settings.get("endpoint_type").origin)}
	case address.text == "":
		return at(endpoint, client.Token{Value: secret.text, Origin: secret.origin, Keystone: true}, web, userAgent)
	}
	options, who, err := f.options(method, secret)
	if err != nil {
		return nil, err
	}
	options.IdentityEndpoint = address.text
	keystone, err := newKeystone(*options, who, web, userAgent)
	if err != nil {
		return nil, err
	}
	credential, opened, err := keystone.open(ctx, secret)
	if err != nil {
		return nil, err
	}
	if opened.project == nil {
		return nil, &Fault{"tenant_name", "No project", "The login works, but is for no project, and databases belong to" +
			" one. Set `tenant_name` or `tenant_id` in the provider block, OS_PROJECT_NAME or OS_PROJECT_ID, or" +
			" project_name or project_id in clouds.yaml."}
	}
	if endpoint.text == "" {
		place, err := endpointIn(opened.catalogue, f.settings.get("region").text, kind, opened.project.ID)
		if err != nil {
			return nil, err
		}
		endpoint = value{place, "Keystone's catalogue"}
	}
	return at(endpoint, credential, web, userAgent)
}

// missing says what was looked at, and what would do.
func (f *findings) missing(method string, secret, address value) error {
	found := "nothing"
	switch {
	case secret.text != "":
		found = fmt.Sprintf("a %s (%s), but not where to log in with it (`auth_url`)",
			strings.ReplaceAll(method, "_", " "), secret.origin)
	case address.text != "":
		found = fmt.Sprintf("Keystone's address (%s), but nothing to log in with there", address.origin)
	case f.settings.get("endpoint").text != "":
		found = fmt.Sprintf("the control plane's address (%s), but nothing to authenticate with", f.settings.get("endpoint").origin)
	}
	return &Fault{"", "No way to authenticate", "Looked at: the provider block, the environment variables COFFRET_ENDPOINT," +
		" COFFRET_TOKEN and OS_*, and the cloud of clouds.yaml that `cloud` or OS_CLOUD names, if any. Found: " + found +
		".\n\nOne of these will do:\n" +
		"  - `cloud`, or OS_CLOUD: a cloud of clouds.yaml\n" +
		"  - `auth_url` with `user_name`, `password` and `tenant_name`, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and" +
		" OS_PROJECT_NAME\n" +
		"  - `auth_url` with `application_credential_id` and `application_credential_secret`, or OS_AUTH_URL," +
		" OS_APPLICATION_CREDENTIAL_ID and OS_APPLICATION_CREDENTIAL_SECRET\n" +
		"  - `auth_url` with `token`, or OS_AUTH_URL and OS_TOKEN: a token of Keystone\n" +
		"  - `endpoint` with `token`, or COFFRET_ENDPOINT and COFFRET_TOKEN: a token of the control plane's own, made by" +
		" `coffret token create`"}
}
