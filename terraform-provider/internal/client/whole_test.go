package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// shelf serves one resource, the id w and the name "one" unless renamed, with the children a and b, and counts requests
// by path.
type shelf struct {
	client *Client
	mutex  sync.Mutex
	name   string
	size   int
	hidden bool // what is inside it may not be listed
	asked  map[string]int
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{name: "one", size: 1, asked: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := New(server.URL, Token{}, NewHTTP(nil), "u")
	if err != nil {
		t.Fatal(err)
	}
	s.client = c
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.asked[r.Method+" "+r.URL.RequestURI()]++
	switch r.URL.Path {
	case "/v1/p/w", "/v1/p/" + s.name:
		switch {
		case r.URL.RawQuery == "":
			fmt.Fprintf(w, `{"id": "w", "name": %q}`, s.name)
		case s.hidden:
			w.WriteHeader(403)
			fmt.Fprint(w, `{"code": "forbidden"}`)
		default:
			fmt.Fprintf(w, `{"id": "w", "name": %q, "children": [{"id": "a", "name": "first", "size": %d},
				{"id": "b", "name": "second", "size": %[2]d}, {"id": null, "name": "gone"}]}`, s.name, s.size)
		}
	case "/v1/p/one/children/a", "/v1/p/one/children/b", "/v1/elsewhere":
		fmt.Fprintf(w, `{"size": %d}`, s.size)
	default:
		w.WriteHeader(404)
		fmt.Fprint(w, `{"code": "not_found"}`)
	}
}

func (s *shelf) whole(t *testing.T, path string, others ...string) Object {
	t.Helper()
	found, err := s.client.GetWhole(context.Background(), path, "include=children", others...)
	if err != nil {
		t.Error(err)
	}
	return found
}

func (s *shelf) child(key string) (Object, error) {
	return s.client.GetInside(
		context.Background(), "/v1/p/one/children/"+key, "/v1/p/one", "include=children", "children", key)
}

func (s *shelf) sizeOf(t *testing.T, key string) string {
	t.Helper()
	child, err := s.child(key)
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprint(child["size"])
}

func (s *shelf) wasAsked(t *testing.T, want map[string]int) {
	t.Helper()
	if fmt.Sprint(s.asked) != fmt.Sprint(want) {
		t.Errorf("asked for %v, not %v", s.asked, want)
	}
}

func TestAResourceAndAllThatIsInsideItAreOneRequest(t *testing.T) {
	whole := func(s *shelf) func(*testing.T) {
		return func(t *testing.T) {
			if got := s.whole(t, "/v1/p/w", "/v1/p/one")["name"]; got != "one" {
				t.Errorf("the whole has the name %v", got)
			}
		}
	}
	child := func(s *shelf, key string) func(*testing.T) {
		return func(t *testing.T) {
			if got := s.sizeOf(t, key); got != "1" {
				t.Errorf("%s has the size %s", key, got)
			}
		}
	}
	for what, scene := range map[string]struct {
		path  string
		order func(*shelf) []func(*testing.T)
	}{
		"the whole first": {"/v1/p/w", func(s *shelf) []func(*testing.T) {
			return []func(*testing.T){whole(s), child(s, "a"), child(s, "b"), child(s, "first"), whole(s)}
		}},
		"a child first": {"/v1/p/one", func(s *shelf) []func(*testing.T) {
			return []func(*testing.T){child(s, "second"), whole(s), child(s, "a"), child(s, "b")}
		}},
		"children alone": {"/v1/p/one", func(s *shelf) []func(*testing.T) {
			return []func(*testing.T){child(s, "a"), child(s, "b")}
		}},
	} {
		want := map[string]int{"GET " + scene.path + "?include=children": 1}
		t.Run(what, func(t *testing.T) {
			s := newShelf(t)
			for _, read := range scene.order(s) {
				read(t)
			}
			s.wasAsked(t, want)
		})
		t.Run(what+", all at once", func(t *testing.T) {
			s := newShelf(t)
			reads := scene.order(s)
			reads[0](t)
			s.client.wholes.forget()
			s.asked = map[string]int{}
			var together sync.WaitGroup
			for range 10 {
				for _, read := range reads {
					together.Go(func() { read(t) })
				}
			}
			together.Wait()
			total := 0
			for _, times := range s.asked {
				total += times
			}
			if total != 1 {
				t.Errorf("asked for %v", s.asked)
			}
		})
	}
}

func TestAReadAfterAWriteSeesIt(t *testing.T) {
	s := newShelf(t)
	s.sizeOf(t, "a")
	s.size = 2
	if _, err := s.client.Replace(context.Background(), "/v1/elsewhere", Object{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := s.sizeOf(t, "a"); got != "2" {
			t.Errorf("the size %s is an old one", got)
		}
	}
}

func TestAChildThatTheWholeDoesNotHaveIsAskedForItself(t *testing.T) {
	s := newShelf(t)
	for range 3 {
		if _, err := s.child("gone"); !IsNotFound(err) {
			t.Fatal(err)
		}
	}
	s.wasAsked(t, map[string]int{"GET /v1/p/one?include=children": 1, "GET /v1/p/one/children/gone": 3})
}

func TestAnotherThatHadTheNameIsNotTakenForIt(t *testing.T) {
	s := newShelf(t)
	s.name = "renamed"
	if got := s.whole(t, "/v1/p/w", "/v1/p/one")["name"]; got != "renamed" {
		t.Errorf("the whole has the name %v", got)
	}
	s.sizeOf(t, "a") // of /v1/p/one, which w no longer is
	s.wasAsked(t, map[string]int{"GET /v1/p/w?include=children": 1, "GET /v1/p/one/children/a": 1})
}

func TestWhoMayNotListWhatIsInsideReadsEachForItself(t *testing.T) {
	s := newShelf(t)
	s.hidden = true
	s.whole(t, "/v1/p/w", "/v1/p/one")
	s.sizeOf(t, "a")
	s.wasAsked(t, map[string]int{
		"GET /v1/p/w?include=children": 1, "GET /v1/p/w": 1, "GET /v1/p/one/children/a": 1})
}
