package runtime

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/action/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// Action is any action of the provider: something that a resource is told to do once.
type Action struct {
	kind   string // its word in the API
	path   string // where it is asked for, with the resource in braces
	of     Resource
	schema schema.Schema
}

var _ action.ActionWithConfigure = &Action{}

// NewAction returns the action of a kind on the resources that the facts are of, which must have a status; it is
// asked for at a path such as /v1/instances/{instance}/actions.
func NewAction(kind, path string, facts Facts, attributes schema.Schema) action.Action {
	attributes.Blocks = map[string]schema.Block{
		"timeouts": timeouts.BlockWithOpts(context.Background(), timeouts.Opts{
			InvokeDescription: limitDescription("the "+kind, facts),
		}),
	}
	return &Action{kind, path, Resource{facts: facts}, attributes}
}

func (a *Action) Metadata(_ context.Context, req action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = fmt.Sprintf("%s_%s_%s", req.ProviderTypeName, a.of.facts.Type, a.kind)
}

func (a *Action) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = a.schema
}

func (a *Action) Configure(_ context.Context, req action.ConfigureRequest, _ *action.ConfigureResponse) {
	a.of.settings, _ = req.ProviderData.(Settings)
}

// Invoke asks for the action and waits until it is done and the resource ready again. Nothing is kept in the state,
// so the end of the waiting is an error, unlike that of a resource's (docs/decisions/0005-terraform-waiting.md).
func (a *Action) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var configured timeouts.Value
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("timeouts"), &configured)...)
	limit, more := configured.Invoke(ctx, a.of.facts.Timeout)
	resp.Diagnostics.Append(more...)
	if resp.Diagnostics.HasError() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	target := attributesOf(req.Config.Raw)[a.of.facts.Type]
	last := ""
	say := func(words string) {
		last = words
		resp.SendProgress(action.InvokeProgressEvent{
			Message: fmt.Sprintf("%s of the %s %q: %s", a.kind, a.of.facts.title(), text(target), words),
		})
	}
	err := a.do(ctx, values{"id": target, a.of.facts.Key: target}, say)
	if err != nil && ctx.Err() != nil && last != "" {
		err = fmt.Errorf("the %s was asked for, but the waiting ended before it was done (timeouts.invoke is %s). The"+
			" control plane goes on with it. Last seen: %s", a.kind, shortDuration(limit), last)
	}
	if err != nil {
		a.of.report(&resp.Diagnostics, a.kind, err)
	}
}

func (a *Action) do(ctx context.Context, attributes values, say func(string)) error {
	here := a.at(attributes)
	asked, err := a.of.settings.client.Act(ctx, here, client.Object{"type": a.kind}, rand.Text())
	if err != nil {
		return err
	}
	say("asked for")
	pause, listen := pauses(), reporter(say)
	for {
		if _, err := a.of.waitUntilReady(ctx, attributes, nil, listen); err != nil {
			return err
		}
		asked, err = a.of.settings.client.Get(ctx, fmt.Sprintf("%s/%v", here, asked["id"]))
		if err != nil {
			return err
		}
		if asked["phase"] == "DONE" {
			say("done")
			return nil
		}
		if !pause(ctx) {
			return ctx.Err()
		}
	}
}

func (a *Action) at(attributes values) string {
	return strings.Replace(a.path, "{"+a.of.facts.Type+"}", url.PathEscape(text(attributes["id"])), 1)
}

// reporter says how a resource is, when that changes, and now and then when it does not.
func reporter(say func(string)) func(client.Object) {
	const silence = 10 * time.Second
	began := time.Now()
	before, last := "", began
	return func(document client.Object) {
		words := fmt.Sprint(dig(document, []string{"status", "phase"}))
		if message := messageOf(document); message != "" {
			words += ", " + message
		}
		if words != before || time.Since(last) > silence {
			before, last = words, time.Now()
			say(fmt.Sprintf("%s, after %s", words, time.Since(began).Round(time.Second)))
		}
	}
}
