package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// parentOf serves a parent with the children a and b, and counts requests by path.
func parentOf(t *testing.T, size *int) (*Client, map[string]int) {
	t.Helper()
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.Method+" "+r.URL.Path]++
		switch r.URL.Path {
		case "/v1/p":
			fmt.Fprintf(w, `{"children": [{"id": "a", "size": %d}, {"id": "b", "size": %[1]d}, {"id": null}]}`, *size)
		case "/v1/p/children/gone":
			w.WriteHeader(404)
			fmt.Fprint(w, `{"code": "not_found"}`)
		default:
			fmt.Fprintf(w, `{"size": %d}`, *size)
		}
	}))
	t.Cleanup(server.Close)
	c, err := New(server.URL, Token{}, NewHTTP(nil), "u")
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func read(t *testing.T, c *Client, id string) string {
	t.Helper()
	child, err := c.GetInside(context.Background(), "/v1/p/children/"+id, "/v1/p?include=children", "children", id)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(child["size"])
}

func TestManyChildrenAreReadWithTheirParent(t *testing.T) {
	size := 1
	c, asked := parentOf(t, &size)
	for _, id := range []string{"a", "b", "a", "b", "a"} {
		if got := read(t, c, id); got != "1" {
			t.Errorf("%s has size %s", id, got)
		}
	}
	if asked["GET /v1/p/children/a"] != 1 || asked["GET /v1/p"] != 1 || len(asked) != 2 {
		t.Errorf("%v", asked)
	}
}

func TestAReadAfterAWriteSeesIt(t *testing.T) {
	size := 1
	c, _ := parentOf(t, &size)
	for range 3 {
		read(t, c, "a")
	}
	size = 2
	if _, err := c.Replace(context.Background(), "/v1/elsewhere", Object{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := read(t, c, "a"); got != "2" {
			t.Errorf("size %s is an old one", got)
		}
	}
}

func TestAChildThatTheParentDoesNotHaveIsAskedForItself(t *testing.T) {
	size := 1
	c, _ := parentOf(t, &size)
	for range 3 {
		_, err := c.GetInside(context.Background(), "/v1/p/children/gone", "/v1/p?include=children", "children", "gone")
		if !IsNotFound(err) {
			t.Fatal(err)
		}
	}
}
