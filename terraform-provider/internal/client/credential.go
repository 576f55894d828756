package client

import (
	"context"
	"errors"
)

// Credential authenticates requests. It is safe for concurrent use.
type Credential interface {
	// Header returns the header that carries the token. It gets a token first when it has none that lasts;
	// Unreachable is its error when that may go better later.
	Header(ctx context.Context) (name, value string, err error)
	// Renew gets another token after a header's value was refused; its error says why there is none.
	Renew(ctx context.Context, refused string) error
}

// Token is a token that is what it is: it cannot be renewed.
type Token struct {
	Value  string
	Origin string // where it was found, for those who must put another one there
	// Keystone's tokens have a header of their own.
	Keystone bool
}

// Header implements Credential.
func (t Token) Header(context.Context) (string, string, error) {
	if t.Keystone {
		return "X-Auth-Token", t.Value, nil
	}
	return "Authorization", "Bearer " + t.Value, nil
}

// Renew implements Credential.
func (t Token) Renew(context.Context, string) error {
	kind := "a Coffret token"
	if t.Keystone {
		kind = "a Keystone token, which lasts some hours at most"
	}
	return errors.New("The token that was refused comes from " + t.Origin + "; it is " + kind + ". Put another one there.")
}
