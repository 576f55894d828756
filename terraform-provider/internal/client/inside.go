package client

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// fresh is how long what one GET told of a whole parent serves the reads of what is inside it. A refresh
// reads many children of few parents within seconds, and one request for each would be most of its time.
const fresh = 30 * time.Second

// insides remembers what is inside parents, by the path that reads them whole.
type insides struct {
	mutex   sync.Mutex
	parents map[string]*inside
}

type inside struct {
	since  time.Time
	once   sync.Once
	listed map[string]map[string]Object // by the list's name, then by id
}

// GetInside reads one resource at path, or takes it from a GET of its parent: around is that GET's path,
// list the name in its answer, id what the resource has there. The first read of a parent's child asks for
// the child alone, so that few children of a large parent cost little. No write of this client goes
// unseen: each one forgets all that was remembered.
func (c *Client) GetInside(ctx context.Context, path, around, list, id string) (Object, error) {
	parent, again := c.insides.of(around)
	if !again {
		return c.Get(ctx, path)
	}
	parent.once.Do(func() { parent.listed = c.listsOf(ctx, around) })
	if child, ok := parent.listed[list][id]; ok {
		return child, nil
	}
	return c.Get(ctx, path) // it is gone, or the parent could not be read: its own answer says which
}

// of returns what is remembered for a parent, and whether it was asked for before.
func (i *insides) of(around string) (*inside, bool) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	parent, ok := i.parents[around]
	if ok && time.Since(parent.since) < fresh {
		return parent, true
	}
	parent = &inside{since: time.Now()}
	if i.parents == nil {
		i.parents = map[string]*inside{}
	}
	i.parents[around] = parent
	return parent, false
}

func (i *insides) forget() {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.parents = nil
}

// listsOf reads a parent whole; nil when it cannot be read.
func (c *Client) listsOf(ctx context.Context, around string) map[string]map[string]Object {
	document, err := c.Get(ctx, around)
	if err != nil {
		return nil
	}
	lists := map[string]map[string]Object{}
	for name, value := range document {
		listed, ok := value.([]any)
		if !ok {
			continue
		}
		lists[name] = map[string]Object{}
		for _, item := range listed {
			if child, ok := item.(Object); ok {
				if id, ok := child["id"].(string); ok {
					lists[name][id] = child
				}
			}
		}
	}
	return lists
}

func writes(method string) bool { return method != http.MethodGet }
