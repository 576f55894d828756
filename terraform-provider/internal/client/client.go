// Package client speaks HTTP to the control plane: authentication, retries, problems.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// attempts is how often one request is sent when the server cannot be reached or is too busy.
	attempts = 6
	// firstPause doubles with each attempt up to longestPause.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
	// longestRequest bounds one exchange; the server parks a waiting GET for 25 s of it.
	longestRequest = 60 * time.Second
)

// Client sends requests to one control plane with one credential. It is safe for concurrent use.
type Client struct {
	endpoint   string
	credential Credential
	userAgent  string
	http       *http.Client
	unusable   error
	wholes     wholes
}

// Object is a JSON object; its numbers are json.Number.
type Object = map[string]any

// version is what the URL of an API may end with, and what every path here starts with.
var version = regexp.MustCompile(`(/v\d+(\.\d+)?)?/*$`)

// New returns a client for the control plane at endpoint, such as http://127.0.0.1:8779, that sends its
// requests through web, of NewHTTP.
func New(endpoint string, credential Credential, web *http.Client, userAgent string) (*Client, error) {
	base, err := url.Parse(endpoint)
	if err == nil && base.User != nil {
		return nil, errors.New("an endpoint has no user in it; it looks like http://127.0.0.1:8779")
	}
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("%q is not an endpoint; it looks like http://127.0.0.1:8779", endpoint)
	}
	return &Client{
		endpoint:   version.ReplaceAllString(base.String(), ""),
		credential: credential,
		userAgent:  userAgent,
		http:       web,
	}, nil
}

// Unusable returns a client whose every request fails with err.
func Unusable(err error) *Client { return &Client{unusable: err} }

// Usable says whether requests can be sent at all.
func (c *Client) Usable() bool { return c.unusable == nil }

// NewHTTP returns what requests are sent through; nil settings are the system's CAs and no certificate.
func NewHTTP(settings *tls.Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// Terraform reads up to -parallelism resources at once; each keeps its connection.
	transport.MaxIdleConnsPerHost = 64
	transport.TLSClientConfig = settings
	return &http.Client{Transport: transport, Timeout: longestRequest, CheckRedirect: redirect}
}

// redirect follows reads on the same host alone: a token is for nobody else, and a redirected write would
// become a read.
func redirect(next *http.Request, asked []*http.Request) error {
	first := asked[0]
	if first.Method != http.MethodGet || next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host ||
		len(asked) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Get reads a resource. The path starts with /v1 and may have a query.
func (c *Client) Get(ctx context.Context, path string) (Object, error) {
	return c.do(ctx, http.MethodGet, path, nil, nil)
}

// Replace changes a resource to what the body says and returns it. A Problem with status 412 says that
// there is none; without If-Match the API would make one, named as the path ends.
func (c *Client) Replace(ctx context.Context, path string, body Object) (Object, error) {
	return c.do(ctx, http.MethodPut, path, body, http.Header{"If-Match": {"*"}})
}

// Patch changes what the body names of a resource (RFC 7396) and returns it.
func (c *Client) Patch(ctx context.Context, path string, body Object) (Object, error) {
	return c.do(ctx, http.MethodPatch, path, body, nil)
}

// Create makes a resource and returns it. A Problem with status 412 says that the name is taken.
func (c *Client) Create(ctx context.Context, path string, body Object) (Object, error) {
	return c.do(ctx, http.MethodPut, path, body, http.Header{"If-None-Match": {"*"}})
}

// Adopt makes a resource of what the engine has under this name, and returns it.
func (c *Client) Adopt(ctx context.Context, path string, body Object) (Object, error) {
	return c.do(ctx, http.MethodPut, path, body, nil)
}

// Act makes something happen once and returns it as an action. The key is one for each thing that is to happen:
// however often a request has to be sent, it is carried out once.
func (c *Client) Act(ctx context.Context, path string, body Object, key string) (Object, error) {
	return c.do(ctx, http.MethodPost, path, body, http.Header{"Idempotency-Key": {key}})
}

// Delete starts deleting a resource. It returns nil when there is none any more.
func (c *Client) Delete(ctx context.Context, path string) (Object, error) {
	answer, err := c.do(ctx, http.MethodDelete, path, nil, nil)
	if IsNotFound(err) {
		return nil, nil
	}
	return answer, err
}

// dryRun makes a write tell what it would do, and do nothing.
const dryRun = "?dry_run=true"

// TryCreate tells what Create would do: it returns the resource as it would be, with its impact, or the problem.
func (c *Client) TryCreate(ctx context.Context, path string, body Object) (Object, error) {
	return c.Create(ctx, path+dryRun, body)
}

// TryReplace tells what Replace would do.
func (c *Client) TryReplace(ctx context.Context, path string, body Object) (Object, error) {
	return c.Replace(ctx, path+dryRun, body)
}

// TryDelete tells what Delete would do.
func (c *Client) TryDelete(ctx context.Context, path string) (Object, error) {
	return c.Delete(ctx, path+dryRun)
}

// List reads all pages of a list.
func (c *Client) List(ctx context.Context, path string) ([]Object, error) {
	var items []Object
	for path != "" {
		page, err := c.Get(ctx, path)
		if err != nil {
			return nil, err
		}
		listed, _ := page["items"].([]any)
		for _, item := range listed {
			if object, ok := item.(Object); ok {
				items = append(items, object)
			}
		}
		path = nextPage(page)
	}
	return items, nil
}

func nextPage(page Object) string {
	links, _ := page["links"].([]any)
	for _, link := range links {
		if object, ok := link.(Object); ok && object["rel"] == "next" {
			href, _ := object["href"].(string)
			return href
		}
	}
	return ""
}

// do sends a request, again while the answer says that a later attempt may do. All methods here are
// idempotent, POST by its key, so that a request whose answer was lost may be repeated.
func (c *Client) do(
	ctx context.Context, method, path string, body Object, header http.Header,
) (Object, error) {
	if c.unusable != nil {
		return nil, c.unusable
	}
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("writing the body of %s %s: %w", method, path, err)
		}
	}
	tries := strings.HasSuffix(path, dryRun)
	if writes(method) && !tries {
		defer c.wholes.forget()
	}
	unanswered := false
	var refusal error // the newest that the control plane said
	for attempt := 1; ; attempt++ {
		answer, err := c.once(ctx, method, path, content, header)
		if err == nil {
			return answer, nil
		}
		problem := AsProblem(err)
		if problem != nil {
			problem.Unsure = unanswered
			refusal = err
		} else if refusal != nil && ctx.Err() != nil {
			return nil, refusal // the time was over in the middle of asking again
		}
		unanswered = unanswered || mayHaveArrived(err)
		pause, again := pauseBeforeRetry(method, err, attempt)
		waits := problem != nil && problem.Status == http.StatusConflict
		if !again || tries && waits || ctx.Err() != nil {
			return nil, err
		}
		if !Sleep(ctx, pause) {
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// once sends a request, and once more with another token when the first one is refused.
func (c *Client) once(
	ctx context.Context, method, path string, content []byte, header http.Header,
) (Object, error) {
	name, token, err := c.credential.Header(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.send(ctx, method, path, content, header, name, token)
	problem := AsProblem(err)
	if problem == nil || problem.Status != http.StatusUnauthorized {
		return answer, err
	}
	if err := c.credential.Renew(ctx, token); err != nil {
		problem.Hint = err.Error()
		return nil, problem
	}
	if name, token, err = c.credential.Header(ctx); err != nil {
		return nil, err
	}
	return c.send(ctx, method, path, content, header, name, token)
}

func (c *Client) send(
	ctx context.Context, method, path string, content []byte, header http.Header, name, token string,
) (Object, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set(name, token)
	request.Header.Set("User-Agent", c.userAgent)
	request.Header.Set("Accept", "application/json")
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &Unreachable{Service: ControlPlane, Endpoint: c.endpoint, Err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, &Unreachable{Service: ControlPlane, Endpoint: c.endpoint, Err: err}
	}
	if response.StatusCode >= 300 {
		return nil, problemOf(method, path, response, text)
	}
	if len(text) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var answer Object
	if err := decoder.Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s %s was answered with something that is no JSON object: %w", method, path, err)
	}
	return answer, nil
}

// pauseBeforeRetry says whether another attempt makes sense and when.
func pauseBeforeRetry(method string, err error, attempt int) (time.Duration, bool) {
	problem := AsProblem(err)
	if problem == nil {
		return backoff(attempt), IsPassing(err) && attempt < attempts
	}
	pause := max(problem.RetryAfter, backoff(attempt))
	if problem.Status == http.StatusConflict {
		// Something is in the way that goes away: the name is being deleted, a group is being
		// detached. The context says how long that may take.
		inUse := method == http.MethodDelete && problem.Code == "in_use"
		return pause, problem.RetryAfter > 0 || inUse
	}
	return pause, isBusy(problem.Status) && attempt < attempts
}

// Retry repeats what fails with errors that may pass, as often as a request is sent.
func Retry(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if !IsPassing(err) || attempt == attempts || !Sleep(ctx, backoff(attempt)) {
			return err
		}
	}
}

func backoff(attempt int) time.Duration {
	pause := min(firstPause<<min(attempt-1, 10), longestPause)
	return pause/2 + rand.N(pause/2)
}

// Sleep waits; it returns false when the context ends first.
func Sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(header.Get("Retry-After"), 64)
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
