package login

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

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
	from := &read{credentials: sources{block, environment}, settings: sources{block, environment}}
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

// read is what was read. For credentials a cloud counts more than the environment, which only fills what is
// missing there; for the way to it the environment counts more.
type read struct {
	credentials, settings sources
	scope                 *gophercloud.AuthScope
}

func (r *read) connect(ctx context.Context, web *http.Client, userAgent string) (*client.Client, error) {
	method, secret := r.credentials.method()
	address, endpoint := r.credentials.get("auth_url"), r.settings.get("endpoint")
	kind, known := interfaces[r.settings.get("endpoint_type").text]
	switch {
	case method == "" || (address.text == "" && (method != "token" || endpoint.text == "")):
		return nil, r.missing(method, secret, address)
	case !known:
		return nil, &Fault{"endpoint_type", "Unusable endpoint_type", fmt.Sprintf("%q, of %s, is none of public,"+
			" internal and admin.", r.settings.get("endpoint_type").text, r.settings.get("endpoint_type").origin)}
	case address.text == "":
		return at(endpoint, client.Token{Value: secret.text, Origin: secret.origin, Keystone: true}, web, userAgent)
	}
	options, who, err := r.options(method, secret)
	if err != nil {
		return nil, err
	}
	options.IdentityEndpoint = address.text
	keystone, err := newKeystone(*options, who, web, userAgent)
	if err != nil {
		return nil, err
	}
	var credential client.Credential = keystone
	var opened *session
	err = client.Retry(ctx, func() (err error) {
		if method == "token" {
			opened, err = keystone.look(ctx)
			if err != nil || !elsewhere(options.Scope, opened.project) {
				credential = client.Token{Value: secret.text, Origin: secret.origin, Keystone: true}
				return err
			}
			credential = keystone
		}
		opened, err = keystone.first(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if opened.project == nil {
		return nil, &Fault{"tenant_name", "No project", "The login works, but is for no project, and databases belong to" +
			" one. Set `tenant_name` or `tenant_id` in the provider block, OS_PROJECT_NAME or OS_PROJECT_ID, or" +
			" project_name or project_id in clouds.yaml."}
	}
	if endpoint.text == "" {
		place, err := endpointIn(opened.catalogue, r.settings.get("region").text, kind, opened.project.ID)
		if err != nil {
			return nil, err
		}
		endpoint = value{place, "Keystone's catalogue"}
	}
	return at(endpoint, credential, web, userAgent)
}

// elsewhere says whether another project is wanted than the token's.
func elsewhere(scope *gophercloud.AuthScope, project *tokens.Project) bool {
	switch {
	case scope == nil || *scope == gophercloud.AuthScope{}:
		return false
	case project == nil:
		return true
	case scope.ProjectID != "":
		return scope.ProjectID != project.ID
	}
	return scope.ProjectName != project.Name ||
		(scope.DomainID != "" && scope.DomainID != project.Domain.ID) ||
		(scope.DomainName != "" && scope.DomainName != project.Domain.Name)
}

// options are what Keystone is sent, and words for it.
func (r *read) options(method string, secret value) (*gophercloud.AuthOptions, string, error) {
	options := &gophercloud.AuthOptions{}
	user := r.credentials.pick("user_id", "user_name")
	needsUser := method == "password"
	var who string
	switch method {
	case "token":
		options.TokenID = secret.text
		options.Scope = r.project(r.credentials.upTo(secret))
		return options, "the token of " + secret.origin, nil
	case "password":
		options.Password = secret.text
		options.Scope = r.project(r.credentials)
	default:
		credential := r.credentials.pick("application_credential_id", "application_credential_name")
		id, name := credential["application_credential_id"], credential["application_credential_name"]
		switch {
		case id.text != "":
			options.ApplicationCredentialID = id.text
			who = fmt.Sprintf("the application credential %q of %s", id.text, id.origin)
		case name.text != "":
			options.ApplicationCredentialName = name.text
			who = fmt.Sprintf("the application credential %q of %s,", name.text, name.origin)
			needsUser = true
		default:
			return nil, "", &Fault{"application_credential_id", "Missing application_credential_id", "The secret of an" +
				" application credential is there, in " + secret.origin + ", but not which one. Set its id by" +
				" `application_credential_id` or OS_APPLICATION_CREDENTIAL_ID."}
		}
		options.ApplicationCredentialSecret = secret.text
	}
	if !needsUser {
		return options, who + " and the secret of " + secret.origin, nil
	}
	if len(user) == 0 {
		return nil, "", &Fault{"user_name", "Missing user_name", "There is a secret to log in with, in " + secret.origin +
			", but not whose it is. Set `user_name` or OS_USERNAME, or `user_id` or OS_USER_ID."}
	}
	if id := user["user_id"]; id.text != "" {
		options.UserID = id.text
		who += fmt.Sprintf("the user %q of %s", id.text, id.origin)
	} else {
		options.Username = user["user_name"].text
		who += fmt.Sprintf("the user %q of %s", options.Username, user["user_name"].origin)
		options.DomainID, options.DomainName = domain(r.credentials.pick("user_domain_id", "user_domain_name"), "user")
	}
	return options, who + " and the secret of " + secret.origin, nil
}

// project is the scope to ask for; nil when nothing names one.
func (r *read) project(from sources) *gophercloud.AuthScope {
	wanted := from.pick("tenant_id", "tenant_name")
	if inBlock := from[:1].pick("tenant_id", "tenant_name"); r.scope != nil && len(inBlock) == 0 && len(from) > 1 {
		return r.scope
	}
	if id := wanted["tenant_id"]; id.text != "" {
		return &gophercloud.AuthScope{ProjectID: id.text}
	}
	if wanted["tenant_name"].text == "" {
		return nil
	}
	scope := &gophercloud.AuthScope{ProjectName: wanted["tenant_name"].text}
	domains := from.pick("project_domain_id", "project_domain_name")
	if len(domains) > 0 {
		scope.DomainID, scope.DomainName = domain(domains, "project")
	} else {
		scope.DomainID, scope.DomainName = domain(from.pick("user_domain_id", "user_domain_name"), "user")
	}
	return scope
}

// domain returns an id or a name; where nothing names a domain it is the one that every Keystone has.
func domain(found source, of string) (id, name string) {
	id, name = found[of+"_domain_id"].text, found[of+"_domain_name"].text
	switch {
	case id != "":
		return id, ""
	case name != "":
		return "", name
	}
	return "default", ""
}

// missing says what was looked at, and what would do.
func (r *read) missing(method string, secret, address value) error {
	found := "nothing"
	switch {
	case secret.text != "":
		found = fmt.Sprintf("a %s (%s), but not where to log in with it (`auth_url`)",
			strings.ReplaceAll(method, "_", " "), secret.origin)
	case address.text != "":
		found = fmt.Sprintf("Keystone's address (%s), but nothing to log in with there", address.origin)
	case r.settings.get("endpoint").text != "":
		found = fmt.Sprintf("the control plane's address (%s), but nothing to authenticate with", r.settings.get("endpoint").origin)
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
