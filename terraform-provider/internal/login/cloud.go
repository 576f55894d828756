package login

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"gopkg.in/yaml.v2"
)

// cloud is what clouds.yaml says of one cloud.
type cloud struct {
	settings source
	tls      *tls.Config
	scope    *gophercloud.AuthScope // of a kind that the provider block has no arguments for
}

// fromClouds reads a cloud out of clouds.yaml, with secure.yaml beside it and clouds-public.yaml.
func fromClouds(name value) (*cloud, error) {
	file, err := cloudsFile(name)
	if err != nil {
		return nil, err
	}
	if err := has(file, name); err != nil {
		return nil, err
	}
	origin := fmt.Sprintf("cloud %q in %s", name.text, file)
	options, endpoint, settings, err := parse(file, name.text)
	if err != nil {
		return nil, &Fault{"cloud", "Unusable cloud", fmt.Sprintf("The %s: %s", origin, withoutValues(err))}
	}
	found := source{}
	put := func(argument, text string) {
		if text != "" {
			found[argument] = value{text, origin}
		}
	}
	put("auth_url", options.IdentityEndpoint)
	put("user_name", options.Username)
	put("user_id", options.UserID)
	put("user_domain_id", options.DomainID)
	put("user_domain_name", options.DomainName)
	put("password", options.Password)
	put("token", options.TokenID)
	put("application_credential_id", options.ApplicationCredentialID)
	put("application_credential_name", options.ApplicationCredentialName)
	put("application_credential_secret", options.ApplicationCredentialSecret)
	put("region", endpoint.Region)
	put("endpoint_type", string(endpoint.Availability))
	made := &cloud{settings: found, tls: settings}
	switch scope := options.Scope; {
	case scope == nil:
	case scope.ProjectID != "" || scope.ProjectName != "":
		put("tenant_id", scope.ProjectID)
		put("tenant_name", scope.ProjectName)
		put("project_domain_id", scope.DomainID)
		put("project_domain_name", scope.DomainName)
	default:
		made.scope = scope
	}
	return made, nil
}

// cloudsFile returns the clouds.yaml to read: where openstacksdk looks for it, too.
func cloudsFile(name value) (string, error) {
	var places []string
	if named := os.Getenv("OS_CLIENT_CONFIG_FILE"); named != "" {
		places = []string{named}
	} else {
		users := os.Getenv("XDG_CONFIG_HOME")
		if home, err := os.UserHomeDir(); users == "" && err == nil {
			users = filepath.Join(home, ".config")
		}
		places = []string{"clouds.yaml", filepath.Join(users, "openstack", "clouds.yaml"), "/etc/openstack/clouds.yaml"}
	}
	for _, place := range places {
		if file, err := os.Open(place); err == nil {
			file.Close()
			return place, nil
		}
	}
	return "", &Fault{"cloud", "No clouds.yaml", fmt.Sprintf("The cloud %q, of %s, is looked up in clouds.yaml, but none"+
		" can be read: looked at %s. The environment variable OS_CLIENT_CONFIG_FILE names another place.",
		name.text, name.origin, strings.Join(places, ", "))}
}

// has says what is wrong when the file has no such cloud.
func has(file string, name value) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var listed struct {
		Clouds map[string]any `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(content, &listed); err != nil {
		return &Fault{"cloud", "Unusable clouds.yaml", file + ": " + withoutValues(err)}
	}
	if _, ok := listed.Clouds[name.text]; ok {
		return nil
	}
	var names []string
	for known := range listed.Clouds {
		names = append(names, known)
	}
	slices.Sort(names)
	return &Fault{"cloud", "No such cloud", fmt.Sprintf("%s has no cloud %q, which %s names. It has: %s.",
		file, name.text, name.origin, strings.Join(names, ", "))}
}

func parse(file, name string) (
	options gophercloud.AuthOptions, endpoint gophercloud.EndpointOpts, settings *tls.Config, err error,
) {
	defer func() { // gophercloud 2.15 goes through a nil pointer when there is no section `auth`
		if recover() != nil {
			err = errors.New("it has no section `auth`")
		}
	}()
	return clouds.Parse(clouds.WithLocations(file), clouds.WithCloudName(name))
}

var line = regexp.MustCompile(`line \d+`)

// withoutValues is the error's text; of one about YAML only the place, since it quotes what stands there, and
// of one about a file not its name, which may be the key itself.
func withoutValues(err error) string {
	var unread *os.PathError
	if errors.As(err, &unread) {
		return "a file that its cacert, cert or key names, or OS_CACERT, OS_CERT or OS_KEY, cannot be read: " +
			unread.Err.Error()
	}
	text := err.Error()
	if !strings.Contains(text, "yaml: ") {
		return text
	}
	if place := line.FindString(text); place != "" {
		return "it, or a file beside it, is not the YAML that it should be, at " + place
	}
	return "it, or a file beside it, is not the YAML that it should be"
}
