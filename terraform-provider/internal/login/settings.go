// Package login finds out from the provider block, the environment and clouds.yaml which control plane to
// use and how to authenticate, as OpenStack's other clients do.
package login

import (
	"os"
	"strings"
)

// own is what tokens of the control plane's own start with.
const own = "cfrt_"

// variables are the environment variables that stand in for arguments of the provider block, as other
// OpenStack providers have them. OS_CLOUD stands apart: it is not looked at when the block has a cloud.
var variables = map[string][]string{
	"endpoint":                      {"COFFRET_ENDPOINT"},
	"token":                         {"COFFRET_TOKEN", "OS_TOKEN", "OS_AUTH_TOKEN"},
	"cloud":                         {"OS_CLOUD"},
	"auth_url":                      {"OS_AUTH_URL"},
	"region":                        {"OS_REGION_NAME"},
	"endpoint_type":                 {"OS_ENDPOINT_TYPE", "OS_INTERFACE"},
	"user_name":                     {"OS_USERNAME"},
	"user_id":                       {"OS_USER_ID"},
	"password":                      {"OS_PASSWORD"},
	"user_domain_name":              {"OS_USER_DOMAIN_NAME"},
	"user_domain_id":                {"OS_USER_DOMAIN_ID"},
	"tenant_name":                   {"OS_PROJECT_NAME", "OS_TENANT_NAME"},
	"tenant_id":                     {"OS_PROJECT_ID", "OS_TENANT_ID"},
	"project_domain_name":           {"OS_PROJECT_DOMAIN_NAME"},
	"project_domain_id":             {"OS_PROJECT_DOMAIN_ID"},
	"application_credential_id":     {"OS_APPLICATION_CREDENTIAL_ID"},
	"application_credential_name":   {"OS_APPLICATION_CREDENTIAL_NAME"},
	"application_credential_secret": {"OS_APPLICATION_CREDENTIAL_SECRET"},
	"cacert_file":                   {"OS_CACERT"},
	"cert":                          {"OS_CERT"},
	"key":                           {"OS_KEY"},
	"insecure":                      {"OS_INSECURE"},
}

// Variables are the environment variables that stand in for an argument; the first that is set counts.
func Variables(argument string) []string { return variables[argument] }

// value is a setting and the place it comes from, for those who must put it right.
type value struct{ text, origin string }

// source is the settings out of one place, by their arguments' names.
type source map[string]value

// sources are places in the order in which they count.
type sources []source

// pick returns the settings of these names out of the first source that has any of them: a user's name from
// one place and an id from another would be two users.
func (s sources) pick(names ...string) source {
	for _, candidate := range s {
		found := source{}
		for _, name := range names {
			if setting, ok := candidate[name]; ok {
				found[name] = setting
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return source{}
}

func (s sources) get(name string) value { return s.pick(name)[name] }

// upTo returns the sources that count no less than the one that has the setting.
func (s sources) upTo(setting value) sources {
	for i, candidate := range s {
		for _, found := range candidate {
			if found == setting {
				return s[:i+1]
			}
		}
	}
	return s
}

// methods are the ways to log in at Keystone, by the secret that each needs; of several in one place the
// first counts. The words are those of OS_AUTH_TYPE.
var methods = []struct{ secret, word string }{
	{"application_credential_secret", "applicationcredential"},
	{"password", "password"},
	{"token", "token"},
}

// method returns the secret to log in with; its name is empty when there is none.
func (s sources) method() (string, value) {
	for _, candidate := range s {
		for _, method := range methods {
			if secret, ok := candidate[method.secret]; ok {
				return method.secret, secret
			}
		}
	}
	return "", value{}
}

// tidy takes the line's end off a token that was read from a file.
func tidy(name, text string) string {
	if name == "token" {
		return strings.TrimSpace(text)
	}
	return text
}

func fromBlock(arguments map[string]string) source {
	found := source{}
	for name, text := range arguments {
		if text = tidy(name, text); text != "" {
			found[name] = value{text, "`" + name + "` in the provider block"}
		}
	}
	return found
}

func fromEnvironment() source {
	found := source{}
	for name, candidates := range variables {
		for _, variable := range candidates {
			if text := tidy(name, os.Getenv(variable)); text != "" {
				found[name] = value{text, "the environment variable " + variable}
				break
			}
		}
	}
	kind := strings.ToLower(os.Getenv("OS_AUTH_TYPE"))
	for _, method := range methods {
		if !strings.Contains(kind, method.word) {
			continue
		}
		for _, other := range methods {
			if other != method && !strings.HasPrefix(found[other.secret].text, own) {
				delete(found, other.secret)
			}
		}
		break
	}
	return found
}

// keystones are the arguments that say how to log in at Keystone; in one block with a token of the control
// plane's own they contradict it.
var keystones = []string{
	"cloud", "auth_url", "user_name", "user_id", "password", "tenant_name", "tenant_id",
	"application_credential_id", "application_credential_name", "application_credential_secret",
}

// Contradictions says what in a provider block cannot stand together.
func Contradictions(arguments map[string]string) []*Fault {
	var faults []*Fault
	block := sources{fromBlock(arguments)}
	var secrets []string
	for _, method := range methods {
		if arguments[method.secret] != "" {
			secrets = append(secrets, method.secret)
		}
	}
	switch {
	case strings.HasPrefix(block.get("token").text, own):
		for _, name := range keystones {
			if arguments[name] != "" {
				faults = append(faults, &Fault{name, "Two ways to authenticate", "The token is one of the control" +
					" plane's own, which needs nothing of Keystone; `" + name + "` is for a login there. Keep one of them."})
				break
			}
		}
	case len(secrets) > 1:
		faults = append(faults, &Fault{secrets[0], "Two ways to authenticate",
			"The provider block has `" + strings.Join(secrets, "` and `") + "`. Keep one of them."})
	}
	if pair := block.pick("cert", "key"); len(pair) == 1 {
		for name := range pair {
			faults = append(faults, &Fault{name, "Half a client certificate", "`cert` and `key` go together."})
		}
	}
	return faults
}
