package login

import (
	"fmt"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// options are what Keystone is sent, and words for it.
func (f *findings) options(method string, secret value) (*gophercloud.AuthOptions, string, error) {
	options := &gophercloud.AuthOptions{}
	var who string
	var err error
	switch method {
	case "token":
		options.TokenID = secret.text
		options.Scope = f.project(f.credentials.upTo(secret))
		return options, "the token of " + secret.origin, nil
	case "password":
		options.Password = secret.text
		options.Scope = f.project(f.credentials)
		who, err = f.user(options, secret)
		for _, project := range f.credentials.pick("tenant_id", "tenant_name") {
			who += fmt.Sprintf(", for the project %q of %s,", project.text, project.origin)
		}
	default:
		options.ApplicationCredentialSecret = secret.text
		who, err = f.applicationCredential(options, secret)
	}
	if err != nil {
		return nil, "", err
	}
	return options, who + " and the secret of " + secret.origin, nil
}

func (f *findings) applicationCredential(options *gophercloud.AuthOptions, secret value) (string, error) {
	found := f.credentials.pick("application_credential_id", "application_credential_name")
	if id := found["application_credential_id"]; id.text != "" {
		options.ApplicationCredentialID = id.text
		return fmt.Sprintf("the application credential %q of %s", id.text, id.origin), nil
	}
	name, ok := found["application_credential_name"]
	if !ok {
		return "", &Fault{"application_credential_id", "Missing application_credential_id", "The secret of an application" +
			" credential is there, in " + secret.origin + ", but not which one. Set its id by" +
			" `application_credential_id` or OS_APPLICATION_CREDENTIAL_ID."}
	}
	options.ApplicationCredentialName = name.text
	who, err := f.user(options, secret)
	return fmt.Sprintf("the application credential %q of %s, that of %s,", name.text, name.origin, who), err
}

func (f *findings) user(options *gophercloud.AuthOptions, secret value) (string, error) {
	found := f.credentials.pick("user_id", "user_name")
	if id := found["user_id"]; id.text != "" {
		options.UserID = id.text
		return fmt.Sprintf("the user %q of %s", id.text, id.origin), nil
	}
	name, ok := found["user_name"]
	if !ok {
		return "", &Fault{"user_name", "Missing user_name", "There is a secret to log in with, in " + secret.origin +
			", but not whose it is. Set `user_name` or OS_USERNAME, or `user_id` or OS_USER_ID."}
	}
	options.Username = name.text
	options.DomainID, options.DomainName = domain(f.credentials.pick("user_domain_id", "user_domain_name"), "user")
	return fmt.Sprintf("the user %q of %s, in the domain %q", name.text, name.origin,
		options.DomainID+options.DomainName), nil
}

// project is the scope to ask for; nil when nothing names one.
func (f *findings) project(from sources) *gophercloud.AuthScope {
	wanted := from.pick("tenant_id", "tenant_name")
	if inBlock := from[:1].pick("tenant_id", "tenant_name"); f.scope != nil && len(inBlock) == 0 && len(from) > 1 {
		return f.scope
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
