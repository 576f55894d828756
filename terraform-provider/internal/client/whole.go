package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// wholes remembers resources that were read with all that is inside them, by the paths that lead to them. Terraform
// configures a provider, and so makes a client, for each walk over its resources: what is remembered lasts as long
// as one refresh.
type wholes struct {
	mutex sync.Mutex
	read  map[string]func() *whole
}

// whole is what one GET told of a resource and of what is inside it.
type whole struct {
	document Object
	err      error
	inside   map[string]map[string]Object // by the list's name, then by id and by name
}

// GetWhole reads the resource at path with all that is inside it, which include (a query) asks for. It takes it
// from an earlier such GET, of this path or of another one that leads there, and GetInside takes from it. No
// write of this client goes unseen: each one forgets all that was remembered.
func (c *Client) GetWhole(ctx context.Context, path, include string, others ...string) (Object, error) {
	found := c.whole(ctx, path, include, others...)
	if found.is(path) {
		return found.document, nil
	}
	if IsPassing(found.err) {
		return nil, found.err
	}
	return c.Get(ctx, path) // it alone may be shown to this user; another one had that name; or it is gone
}

// GetInside reads the resource at path, or takes it from a GET of the whole around it: list is the name there of
// the list that has it, key its id or name.
func (c *Client) GetInside(ctx context.Context, path, around, include, list, key string) (Object, error) {
	found := c.whole(ctx, around, include)
	if child, ok := found.inside[list][key]; ok && found.is(around) {
		return child, nil
	}
	if IsPassing(found.err) {
		return nil, found.err
	}
	return c.Get(ctx, path) // it is gone, or the whole cannot be read: its own answer says which
}

// whole returns what is remembered for any of the paths, or reads it at the first of them. Whoever asks for the
// same meanwhile waits for that one request.
func (c *Client) whole(ctx context.Context, path, include string, others ...string) *whole {
	return c.wholes.of(append([]string{path}, others...), func() *whole {
		document, err := c.Get(ctx, path+"?"+include)
		return &whole{document, err, insideOf(document)}
	})()
}

func (w *wholes) of(paths []string, read func() *whole) func() *whole {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var found func() *whole
	for _, path := range paths {
		if found = w.read[path]; found != nil {
			break
		}
	}
	if found == nil {
		found = sync.OnceValue(read)
	}
	if w.read == nil {
		w.read = map[string]func() *whole{}
	}
	for _, path := range paths {
		if w.read[path] == nil {
			w.read[path] = found
		}
	}
	return found
}

func (w *wholes) forget() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.read = nil
}

// is says whether path, which ends with an id or a name, leads to what was read.
func (w *whole) is(path string) bool {
	key, err := url.PathUnescape(path[strings.LastIndex(path, "/")+1:])
	return err == nil && w.err == nil && (w.document["id"] == key || w.document["name"] == key)
}

func insideOf(document Object) map[string]map[string]Object {
	lists := map[string]map[string]Object{}
	for list, value := range document {
		listed, _ := value.([]any)
		for _, item := range listed {
			child, _ := item.(Object)
			id, managed := child["id"].(string)
			if !managed {
				continue
			}
			if lists[list] == nil {
				lists[list] = map[string]Object{}
			}
			lists[list][id] = child
			if name, ok := child["name"].(string); ok {
				lists[list][name] = child
			}
		}
	}
	return lists
}

func writes(method string) bool { return method != http.MethodGet }
