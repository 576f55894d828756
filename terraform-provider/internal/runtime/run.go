package runtime

import "sync"

// run is what one run of the provider has seen: what a plan makes is not there yet when what uses it is planned.
type run struct {
	mutex sync.Mutex
	ids   map[string]bool
	names map[string]bool
}

func newRun() *run { return &run{ids: map[string]bool{}, names: map[string]bool{}} }

// meets remembers the id of a resource that is in the state, and may be deleted or renamed by the plan.
func (r *run) meets(id string) { r.remember(r.ids, id) }

// has says whether a resource is known to be in the state.
func (r *run) has(id string) bool { return r.knows(r.ids, id) }

// plans remembers the name of a resource that the plan makes or changes.
func (r *run) plans(name string) { r.remember(r.names, name) }

// makes says whether the plan makes or changes a resource of this name.
func (r *run) makes(name string) bool { return r.knows(r.names, name) }

func (r *run) remember(set map[string]bool, name string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if name != "" {
		set[name] = true
	}
}

func (r *run) knows(set map[string]bool, name string) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return set[name]
}
