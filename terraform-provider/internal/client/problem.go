package client

import (
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
	ID         string        `json:"id"` // of the resource that is in the way (412)
	RetryAfter time.Duration `json:"-"`
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

// Unreachable says that no answer came.
type Unreachable struct {
	Endpoint string
	Err      error
}

func (u *Unreachable) Error() string {
	return fmt.Sprintf("The control plane at %s does not answer: %s", u.Endpoint, u.Err)
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
	problem := AsProblem(err)
	return errors.As(err, &unreachable) || (problem != nil && isBusy(problem.Status))
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
	}
	problem.Method, problem.Path, problem.Status = method, path, response.StatusCode
	problem.RetryAfter = retryAfter(response.Header)
	if problem.RequestID == "" {
		problem.RequestID = response.Header.Get("X-Request-Id")
	}
	return problem
}
