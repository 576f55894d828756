package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answers serves one scripted answer after the other, the last one for ever, and counts requests.
func answers(t *testing.T, script ...http.HandlerFunc) (*Client, *int) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step := script[min(asked, len(script)-1)]
		asked++
		step(w, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL+"/v1/", Token{Value: "a-token", Origin: "a test"}, NewHTTP(nil), "test-agent/1")
	if err != nil {
		t.Fatal(err)
	}
	return c, &asked
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func problemBody(code string) string {
	return fmt.Sprintf(`{"code": %q, "detail": "A sentence.", "request_id": "req-1"}`, code)
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		connection.Close()
	}
}

func TestARequestCarriesTokenAndUserAgent(t *testing.T) {
	c, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]string{
			"Authorization": "Bearer a-token", "User-Agent": "test-agent/1", "If-None-Match": "*",
			"Content-Type": "application/json",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s is %q, not %q", name, got, want)
			}
		}
		if r.URL.Path != "/v1/instances/a" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		fmt.Fprint(w, `{"id": "1"}`)
	})
	if _, err := c.Create(context.Background(), "/v1/instances/a", Object{}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsReplacedMustBeThere(t *testing.T) {
	c, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-Match"); got != "*" {
			t.Errorf("If-Match is %q", got)
		}
		problem := problemBody("precondition_failed")
		w.WriteHeader(http.StatusPreconditionFailed)
		fmt.Fprint(w, problem)
	})
	if _, err := c.Replace(context.Background(), "/v1/x", Object{}); AsProblem(err) == nil {
		t.Fatal(err)
	}
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	for what, first := range map[string]http.HandlerFunc{
		"too many requests":   says(429, problemBody("rate_limited")),
		"bad gateway":         says(502, "<html>"),
		"service unavailable": says(503, ""),
		"a lost connection":   hangUp,
		"a name being deleted": says(409, problemBody("conflict"),
			"Retry-After", "0.01"),
	} {
		t.Run(what, func(t *testing.T) {
			c, asked := answers(t, first, says(200, `{"name": "a"}`))
			answer, err := c.Replace(context.Background(), "/v1/x", Object{})
			if err != nil || answer["name"] != "a" || *asked != 2 {
				t.Fatalf("%v, %v after %d requests", answer, err, *asked)
			}
		})
	}
}

func TestWhatWillNotPassIsSaidAtOnce(t *testing.T) {
	for status, code := range map[int]string{
		400: "bad_request", 401: "unauthenticated", 403: "quota_exceeded", 404: "not_found",
		409: "deletion_protected", 412: "precondition_failed", 422: "invalid", 500: "internal_error",
	} {
		c, asked := answers(t, says(status, problemBody(code)))
		_, err := c.Replace(context.Background(), "/v1/x?a=b", Object{})
		problem := AsProblem(err)
		if problem == nil || problem.Code != code || problem.Status != status || *asked != 1 {
			t.Fatalf("%v after %d requests", err, *asked)
		}
		want := fmt.Sprintf("A sentence.\n\nPUT /v1/x: %d %s, request req-1", status, code)
		if status == 401 {
			want = strings.Replace(want, "PUT", "The token that was refused comes from a test; it is a Coffret token."+
				" Put another one there.\n\nPUT", 1)
		}
		if err.Error() != want {
			t.Errorf("%q, not %q", err, want)
		}
	}
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	for status, code := range map[int]string{429: "rate_limited", 503: "busy"} {
		c, _ := answers(t, says(status, problemBody(code), "Retry-After", "0.6"), says(200, `{}`))
		start := time.Now()
		if _, err := c.Get(context.Background(), "/v1/x"); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < 600*time.Millisecond {
			t.Fatalf("after %d it waited only %s", status, waited)
		}
	}
}

func TestTryingAgainEndsWithTheContext(t *testing.T) {
	c, asked := answers(t, says(409, problemBody("in_use")))
	ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer cancel()
	_, err := c.Delete(ctx, "/v1/x")
	if problem := AsProblem(err); problem == nil || problem.Code != "in_use" {
		t.Fatalf("the reason is lost: %v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) || *asked < 2 {
		t.Fatalf("%v after %d requests", err, *asked)
	}
}

func TestAResourceInUseIsOnlyWaitedForWhenDeleting(t *testing.T) {
	c, asked := answers(t, says(409, problemBody("in_use")))
	if _, err := c.Replace(context.Background(), "/v1/x", Object{}); err == nil || *asked != 1 {
		t.Fatalf("%v after %d requests", err, *asked)
	}
}

func TestDeletingWhatIsGoneIsNoError(t *testing.T) {
	for status, body := range map[int]string{204: "", 404: problemBody("not_found")} {
		c, _ := answers(t, says(status, body))
		if left, err := c.Delete(context.Background(), "/v1/x"); left != nil || err != nil {
			t.Errorf("%d: %v, %v", status, left, err)
		}
	}
}

func TestA404ThatIsNotTheControlPlanesSaysNothingAboutTheResource(t *testing.T) {
	c, _ := answers(t, says(404, "<html>no such page"))
	_, err := c.Get(context.Background(), "/v1/x")
	if err == nil || IsNotFound(err) || !strings.Contains(err.Error(), "is it a Coffret control plane?") {
		t.Fatal(err)
	}
}

func TestAnAttemptWithoutItsAnswerMakesALaterRefusalUnsure(t *testing.T) {
	for what, scene := range map[string]struct {
		first  http.HandlerFunc
		unsure bool
	}{
		"a lost connection": {hangUp, true},
		"a gateway's error": {says(502, "<html>"), true},
		"a busy server":     {says(429, problemBody("busy")), false},
	} {
		t.Run(what, func(t *testing.T) {
			c, _ := answers(t, scene.first, says(412, problemBody("precondition_failed")))
			_, err := c.Create(context.Background(), "/v1/x", Object{})
			if problem := AsProblem(err); problem == nil || problem.Unsure != scene.unsure {
				t.Fatal(err)
			}
		})
	}
}

func TestAListIsReadToItsLastPage(t *testing.T) {
	c, asked := answers(t,
		says(200, `{"items": [{"n": 1}, {"n": 2}], "links": [{"rel": "next", "href": "/v1/x?marker=2"}]}`),
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "marker=2" {
				t.Errorf("the second page was asked for with %q", r.URL.RawQuery)
			}
			fmt.Fprint(w, `{"items": [{"n": 3}], "links": []}`)
		})
	items, err := c.List(context.Background(), "/v1/x")
	if err != nil || len(items) != 3 || *asked != 2 {
		t.Fatal(items, err, *asked)
	}
}

func TestAnEndpointIsAnHTTPURL(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8779", "ftp://x", "http://", ":", "http://me:secret@x"} {
		if _, err := New(bad, Token{}, NewHTTP(nil), "u"); err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
}
