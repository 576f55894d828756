package login

// Fault is something to put right in the configuration.
type Fault struct {
	Argument string // of the provider block; may be empty
	Summary  string
	Detail   string
}

func (f *Fault) Error() string { return f.Summary + ": " + f.Detail }
