package client

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Problem is an error that the control plane answered with (RFC 9457).
type Problem struct {
	Method     string        `json:"-"`
	Path       string        `json:"-"`
	Status     int           `json:"status"`
	Code       string        `json:"code"`
	Title      string        `json:"title"`
	Detail     string        `json:"detail"`
	Errors     []FieldError  `json:"errors"`
	RequestID  string        `json:"request_id"`
	ID         string        `json:"id"`       // of the resource that is in the way (412)
	Resource   string        `json:"resource"` // that the quota limits
	RetryAfter time.Duration `json:"-"`
	Hint       string        `json:"-"` // what else the client knows of it
	// Unsure: an earlier attempt of the same request got no answer, and may have been carried out.
	Unsure bool `json:"-"`
}

// FieldError is one bad field of a request.
type FieldError struct {
	Pointer string `json:"pointer"` // RFC 6901, into the body; `?name` for a query parameter
	Detail  string `json:"detail"`
}

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Hint != "" {
		text += "\n\n" + p.Hint
	}
	return text + p.Origin()
}

// Origin says which request it was, for those who look it up in the server's log.
func (p *Problem) Origin() string {
	path, _, _ := strings.Cut(p.Path, "?")
	origin := fmt.Sprintf("\n\n%s %s: %d %s", p.Method, path, p.Status, p.Code)
	if p.RequestID != "" {
		origin += ", request " + p.RequestID
	}
	return origin
}

// ControlPlane is the service that this package is a client of.
const ControlPlane = "The control plane"

// Unreachable says that no answer came, or none but that of a busy server.
type Unreachable struct {
	Service  string
	Endpoint string
	Err      error
}

func (u *Unreachable) Error() string {
	text := fmt.Sprintf("%s at %s does not answer: %s", u.Service, u.Endpoint, u.Err)
	if u.isUntrusted() {
		text += "\n\nIf its certificate is signed by a CA of your own, name that CA by cacert_file in the provider" +
			" block, by OS_CACERT, or by cacert in clouds.yaml."
	}
	return text
}

func (u *Unreachable) isUntrusted() bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(u.Err, &certificate)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// AsProblem returns the Problem in err, or nil.
func AsProblem(err error) *Problem {
	var problem *Problem
	if errors.As(err, &problem) {
		return problem
	}
	return nil
}

// IsNotFound says whether err is the control plane's own 404; that of a proxy, or of a wrong
// endpoint, says nothing about the resource.
func IsNotFound(err error) bool {
	problem := AsProblem(err)
	return problem != nil && problem.Status == http.StatusNotFound && problem.Code == "not_found"
}

// IsPassing says whether err speaks of the way to the control plane, not of what was asked.
func IsPassing(err error) bool {
	var unreachable *Unreachable
	if errors.As(err, &unreachable) {
		return !unreachable.isUntrusted()
	}
	problem := AsProblem(err)
	return problem != nil && isBusy(problem.Status)
}

// mayHaveArrived says whether a request that failed so may have been carried out: it got no answer, or that
// of a gateway that lost its upstream. One whose login failed was not even sent.
func mayHaveArrived(err error) bool {
	if problem := AsProblem(err); problem != nil {
		return problem.Status == http.StatusBadGateway || problem.Status == http.StatusGatewayTimeout
	}
	var unreachable *Unreachable
	return errors.As(err, &unreachable) && unreachable.Service == ControlPlane
}

func isBusy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusBadGateway ||
		status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

func problemOf(method, path string, response *http.Response, text []byte) *Problem {
	problem := &Problem{}
	if err := json.Unmarshal(text, problem); err != nil || problem.Code == "" {
		// A proxy's answer, or no control plane at all.
		*problem = Problem{
			Code:   "unknown",
			Detail: fmt.Sprintf("The endpoint answered %s and no problem document; is it a Coffret control plane?", response.Status),
		}
		if place, err := response.Location(); err == nil {
			problem.Detail = fmt.Sprintf("The endpoint answered %s, to %s, where the token was not sent. If that"+
				" is the control plane, set its URL as the endpoint.", response.Status, place.Redacted())
		}
	}
	problem.Method, problem.Path, problem.Status = method, path, response.StatusCode
	problem.RetryAfter = retryAfter(response.Header)
	if problem.RequestID == "" {
		problem.RequestID = response.Header.Get("X-Request-Id")
	}
	return problem
}
