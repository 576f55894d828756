package runtime

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

const (
	// parked is how many seconds the server may hold a waiting GET.
	parked = "?wait_for=ready&timeout=25"
	// A server that has no place to park answers at once; then the client spaces its questions.
	firstPause   = 100 * time.Millisecond
	longestPause = 3 * time.Second
)

type limitOf = func(timeouts.Value, context.Context, time.Duration) (time.Duration, diag.Diagnostics)

// failed says that the control plane has given up until something else is asked for.
type failed struct {
	document client.Object
	events   []string
}

func (f *failed) Error() string {
	text := messageOf(f.document)
	if text == "" {
		text = "The control plane gives no reason."
	}
	if len(f.events) > 0 {
		text += "\n\nThe instance's newest events:\n  " + strings.Join(f.events, "\n  ")
	}
	return text
}

// waitUntilReady returns the newest document with the error, when there is one. Each one that it has seen is
// told to those who listen.
func (r *Resource) waitUntilReady(
	ctx context.Context, attributes values, document client.Object, listeners ...func(client.Object),
) (client.Object, error) {
	pause := pauses()
	for {
		if ready, _ := dig(document, []string{"status", "ready"}).(bool); ready {
			return document, nil
		}
		if dig(document, []string{"status", "phase"}) == "ERROR" {
			return document, &failed{document, r.newestEvents(ctx, attributes)}
		}
		if !pause(ctx) {
			return document, ctx.Err()
		}
		newer, err := r.settings.client.Get(ctx, r.facts.byID(attributes)+parked)
		switch {
		case err == nil:
			document = newer
			for _, tell := range listeners {
				tell(document)
			}
		case ctx.Err() != nil:
			return document, ctx.Err()
		case !client.IsPassing(err): // a control plane that is being restarted is waited for
			return document, err
		}
	}
}

// waitUntilGone polls until the path is a 404, or an ERROR says that waiting is of no use.
func (r *Resource) waitUntilGone(ctx context.Context, path string, document client.Object) error {
	pause := pauses()
	for pause(ctx) {
		if dig(document, []string{"status", "phase"}) == "ERROR" {
			return fmt.Errorf("it is not deleted. %s", messageOf(document))
		}
		newer, err := r.settings.client.Get(ctx, path+parked)
		if client.IsNotFound(err) {
			return nil
		}
		if err == nil {
			document = newer
		} else if ctx.Err() == nil && !client.IsPassing(err) {
			return err
		}
	}
	message := messageOf(document)
	if message != "" {
		message = "\n\n" + message
	}
	return fmt.Errorf("it is still being deleted at the end of timeouts.delete; apply again to go on"+
		" waiting.%s", message)
}

// pauses spaces questions: none before the first, none after one that the server has held.
func pauses() func(context.Context) bool {
	pause := time.Duration(0)
	asked := time.Now()
	return func(ctx context.Context) bool {
		if time.Since(asked) > longestPause {
			pause = 0
		}
		ok := client.Sleep(ctx, pause)
		pause = min(max(2*pause, firstPause), longestPause)
		asked = time.Now()
		return ok
	}
}

func messageOf(document client.Object) string {
	message, _ := dig(document, []string{"status", "message"}).(string)
	return message
}

// newestEvents are the last few sentences about the instance; none when they cannot be had.
func (r *Resource) newestEvents(ctx context.Context, attributes values) []string {
	if r.facts.EventsOf == "" {
		return nil
	}
	instance := url.QueryEscape(text(attributes[r.facts.EventsOf]))
	events, err := r.settings.client.List(ctx, "/v1/events?limit=1000&instance="+instance)
	if err != nil {
		return nil
	}
	const shown = 5
	var sentences []string
	for _, event := range events[max(0, len(events)-shown):] {
		sentences = append(sentences, fmt.Sprintf("%v %v", event["created_at"], event["message"]))
	}
	return sentences
}

// shortDuration writes 30m0s as 30m.
func shortDuration(d time.Duration) string {
	return strings.Replace(strings.Replace(d.String(), "m0s", "m", 1), "h0m", "h", 1)
}
