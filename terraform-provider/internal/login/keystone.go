package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// margin is how long before its end a token is renewed; a token of minutes is renewed in its last quarter.
// A request takes a minute at most, and the control plane uses its token once more on the way.
const margin = 2 * time.Minute

// patience is how long the first login may take, again and again: nothing is under way yet that it would end.
const patience = time.Minute

// keystone is a login at a Keystone, renewed before its token ends.
type keystone struct {
	identity *gophercloud.ServiceClient
	options  gophercloud.AuthOptions
	who      string // logs in, for error messages

	mutex   sync.Mutex
	token   string
	renewAt time.Time
	refused error // by Keystone, for good: asked again and again it would lock the account
}

// session is what a login says besides its token.
type session struct {
	catalogue *tokens.ServiceCatalog
	project   *tokens.Project
}

var identityVersion = regexp.MustCompile(`(/v\d+(\.\d+)?)?/*$`)

func newKeystone(
	options gophercloud.AuthOptions, who string, web *http.Client, userAgent string,
) (*keystone, error) {
	place, err := url.Parse(options.IdentityEndpoint)
	if err != nil || (place.Scheme != "http" && place.Scheme != "https") || place.Host == "" || place.User != nil {
		return nil, &Fault{"auth_url", "Unusable auth_url",
			"It is not Keystone's URL, which looks like https://keystone.example.com:5000/v3, without a user in it."}
	}
	provider := &gophercloud.ProviderClient{HTTPClient: *web}
	provider.UserAgent.Prepend(userAgent)
	base := identityVersion.ReplaceAllString(options.IdentityEndpoint, "")
	return &keystone{
		identity: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: base + "/v3/"},
		options:  options,
		who:      who,
	}, nil
}

// Header implements client.Credential.
func (k *keystone) Header(ctx context.Context) (string, string, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.token == "" || time.Now().After(k.renewAt) {
		if _, err := k.login(ctx); err != nil {
			return "", "", err
		}
	}
	return "X-Auth-Token", k.token, nil
}

// Renew implements client.Credential. Of many requests whose token is refused, the first one logs in.
func (k *keystone) Renew(ctx context.Context, refused string) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.token != refused {
		return nil
	}
	_, err := k.login(ctx)
	return err
}

// open logs in for the first time, while Keystone is busy again and again. A token that was given is the
// credential itself unless it is for another project than the one that is asked for.
func (k *keystone) open(ctx context.Context, secret value) (client.Credential, *session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var opened *session
	if k.options.TokenID != "" {
		err := client.Retry(ctx, func() (err error) { opened, err = k.look(ctx); return err })
		if err != nil || !elsewhere(k.options.Scope, opened.project) {
			return client.Token{Value: secret.text, Origin: secret.origin, Keystone: true}, opened, err
		}
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	err := client.Retry(ctx, func() (err error) { opened, err = k.login(ctx); return err })
	return k, opened, err
}

func (k *keystone) login(ctx context.Context) (*session, error) {
	if k.refused != nil {
		return nil, k.refused
	}
	options := k.options // Create may write into them
	result := tokens.Create(ctx, k.identity, &options)
	if result.Err != nil {
		err := failure(result.Err, k.identity.Endpoint, k.who)
		if gophercloud.ResponseCodeIs(result.Err, http.StatusUnauthorized) {
			k.refused = err
		}
		return nil, err
	}
	var issued struct {
		ExpiresAt time.Time `json:"expires_at"`
		IssuedAt  time.Time `json:"issued_at"`
	}
	err := result.ExtractInto(&issued)
	token, _ := result.ExtractTokenID()
	if err != nil || token == "" {
		return nil, notKeystone(k.identity.Endpoint)
	}
	// Keystone's clock may be another one; how long a token lasts is the same on both.
	lasts := issued.ExpiresAt.Sub(issued.IssuedAt)
	k.token, k.renewAt = token, time.Now().Add(lasts-min(margin, lasts/4))
	return k.session(result)
}

// look reads what a token that was given is good for.
func (k *keystone) look(ctx context.Context) (*session, error) {
	k.identity.ProviderClient.SetToken(k.options.TokenID)
	defer k.identity.ProviderClient.SetToken("")
	result := tokens.Get(ctx, k.identity, k.options.TokenID)
	if result.Err != nil {
		return nil, failure(result.Err, k.identity.Endpoint, k.who)
	}
	return k.session(result)
}

func (k *keystone) session(result interface {
	ExtractServiceCatalog() (*tokens.ServiceCatalog, error)
	ExtractProject() (*tokens.Project, error)
}) (*session, error) {
	catalogue, err := result.ExtractServiceCatalog()
	if err != nil {
		return nil, notKeystone(k.identity.Endpoint)
	}
	project, err := result.ExtractProject()
	if err != nil {
		return nil, notKeystone(k.identity.Endpoint)
	}
	return &session{catalogue, project}, nil
}

func notKeystone(endpoint string) error {
	return &Fault{"auth_url", "Not a Keystone", endpoint + " answers, but not as Keystone's API v3 does. Check auth_url."}
}

// failure says what a login's error means. Answers are not quoted but for Keystone's own message.
func failure(err error, endpoint, who string) error {
	var answer gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &answer) {
		var failed *url.Error
		if errors.As(err, &failed) {
			return &client.Unreachable{Service: "Keystone", Endpoint: endpoint, Err: failed.Err}
		}
		return notKeystone(endpoint)
	}
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	message := ""
	if json.Unmarshal(answer.Body, &said) == nil && said.Error.Message != "" {
		message = ": " + said.Error.Message
	}
	switch {
	case answer.Actual == http.StatusTooManyRequests || answer.Actual >= 500:
		return &client.Unreachable{Service: "Keystone", Endpoint: endpoint, Err: fmt.Errorf("%d%s", answer.Actual, message)}
	case answer.Actual == http.StatusUnauthorized || answer.Actual == http.StatusForbidden || message != "":
		return &Fault{"", "Keystone refuses the login", fmt.Sprintf("Tried at %s with %s. The answer was %d%s",
			endpoint, who, answer.Actual, message)}
	}
	if place := answer.ResponseHeader.Get("Location"); place != "" {
		return &Fault{"auth_url", "Not a Keystone", fmt.Sprintf("%s redirects to %q; credentials are not sent there."+
			" If that is Keystone, set it as auth_url.", endpoint, place)}
	}
	return notKeystone(endpoint)
}
