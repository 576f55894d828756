package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// Resource is any resource of the provider: generated facts and schema, and the behaviour below.
type Resource struct {
	facts    Facts
	schema   schema.Schema
	settings Settings
}

// Settings are what the provider block says to every resource.
type Settings struct {
	client *client.Client
	// defaultLabels is a map of strings; it may be null or unknown, and so may its elements.
	defaultLabels tftypes.Value
	// adopt: a create takes over what is there already, if it is as it is wanted.
	adopt bool
	run   *run
}

// NewSettings returns the settings of a configured provider, whose block has these attributes.
func NewSettings(client *client.Client, block map[string]tftypes.Value) Settings {
	adopt, _ := toJSON(block["adopt"])
	return Settings{client, block["default_labels"], adopt == true, newRun()}
}

var (
	_ resource.ResourceWithConfigure   = &Resource{}
	_ resource.ResourceWithIdentity    = &Resource{}
	_ resource.ResourceWithImportState = &Resource{}
	_ resource.ResourceWithModifyPlan  = &Resource{}
	_ resource.ResourceWithMoveState   = &Resource{}
)

// Resources ties facts and schema together, adds the timeouts block, and returns what makes a resource of them:
// Terraform's framework asks for another one at each call, and a schema with its patterns takes long to make.
func Resources(facts Facts, attributes schema.Schema) func() resource.Resource {
	attributes.Blocks = map[string]schema.Block{
		"timeouts": timeouts.Block(context.Background(), timeouts.Opts{
			Create: true, Update: true, Delete: true,
			CreateDescription: limitDescription("creating", facts),
			UpdateDescription: limitDescription("updating", facts),
			DeleteDescription: limitDescription("deleting", facts),
		}),
	}
	if facts.Restarts {
		attributes.Attributes[onRestart] = onRestartAttribute
	}
	return func() resource.Resource { return &Resource{facts: facts, schema: attributes} }
}

func limitDescription(doing string, facts Facts) string {
	return fmt.Sprintf("How long %s may take, such as `90s` or `1h30m`. Default: `%s`.",
		doing, shortDuration(facts.Timeout))
}

func (r *Resource) Metadata(
	_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse,
) {
	resp.TypeName = req.ProviderTypeName + "_" + r.facts.Type
	resp.ResourceBehavior.MutableIdentity = true // names can be changed
}

func (r *Resource) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = r.schema
}

func (r *Resource) Configure(
	_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse,
) {
	// Nil while Terraform validates: the provider is not configured then.
	r.settings, _ = req.ProviderData.(Settings)
}

func (r *Resource) Create(
	ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse,
) {
	ctx, cancel := r.within(ctx, req.Plan, timeouts.Value.Create, &resp.Diagnostics)
	defer cancel()
	plan, config := attributesOf(req.Plan.Raw), attributesOf(req.Config.Raw)
	body, err := r.facts.body(plan, config, true)
	if err != nil {
		r.report(&resp.Diagnostics, "create", err)
		return
	}
	document, err := r.settings.client.Create(ctx, r.facts.byName(plan), body)
	if problem := client.AsProblem(err); problem != nil && problem.Status == http.StatusPreconditionFailed {
		document, err = r.taken(ctx, problem, plan, body, &resp.Diagnostics)
	}
	if err != nil {
		r.report(&resp.Diagnostics, "create", err)
		return
	}
	// Saved before the waiting: whatever happens from here on, Terraform knows what it has made.
	w := written{&resp.State, resp.Identity, resp.Private.SetKey, &resp.Diagnostics}
	made := r.save(ctx, document, plan, w)
	if resp.Diagnostics.HasError() {
		return
	}
	r.waitAndSave(ctx, "create", document, made, plan, w)
}

func (r *Resource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	prior := attributesOf(req.State.Raw)
	r.identify(ctx, resp.Identity, prior) // even where it turns out to be gone, the framework wants one
	document, err := r.read(ctx, prior)
	if client.IsNotFound(err) {
		moved, _ := req.Private.GetKey(ctx, movedKey)
		if text(prior["id"]) == "" && moved == nil {
			r.report(&resp.Diagnostics, "import", err)
			return
		}
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		r.report(&resp.Diagnostics, "read", err)
		return
	}
	kind := r.kind(ctx)
	made, err := r.facts.state(document, prior, kind)
	if err != nil {
		r.report(&resp.Diagnostics, "read", err)
		return
	}
	r.settings.run.meets(text(made["id"]))
	remembered, diags := req.Private.GetKey(ctx, spellingsKey)
	resp.Diagnostics.Append(diags...)
	r.facts.keep(made, prior, remembered, document)
	r.ownLabels(made, prior)
	resp.State.Raw = tftypes.NewValue(kind, made)
	r.identify(ctx, resp.Identity, made)
}

// read makes one request for an instance and all that is inside it, whichever of them is read first.
func (r *Resource) read(ctx context.Context, prior values) (client.Object, error) {
	here, include := r.facts.byID(prior), r.facts.Include
	switch {
	case r.facts.Around != "":
		around, key := r.facts.at(r.facts.Around, prior), cmp.Or(text(prior["id"]), text(prior[r.facts.Key]))
		return r.settings.client.GetInside(ctx, here, around, include, r.facts.Among, key)
	case include != "":
		return r.settings.client.GetWhole(ctx, here, include, r.facts.byName(prior))
	}
	return r.settings.client.Get(ctx, here)
}

func (r *Resource) Update(
	ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse,
) {
	ctx, cancel := r.within(ctx, req.Plan, timeouts.Value.Update, &resp.Diagnostics)
	defer cancel()
	plan, config, prior := attributesOf(req.Plan.Raw), attributesOf(req.Config.Raw), attributesOf(req.State.Raw)
	body, err := r.facts.body(plan, config, r.newSecret(plan, prior))
	if err != nil {
		r.report(&resp.Diagnostics, "update", err)
		return
	}
	here := values{}
	for name, value := range plan {
		here[name] = value
	}
	here["id"] = prior["id"]
	document, err := r.settings.client.Replace(ctx, r.facts.byID(here), body)
	if problem := client.AsProblem(err); problem != nil && problem.Status == http.StatusPreconditionFailed {
		err = fmt.Errorf("there is no such %s any more: it was deleted since the plan was made, or what it is"+
			" inside of has become another one. Plan again.%s", r.facts.title(), problem.Origin())
	}
	if err != nil {
		r.report(&resp.Diagnostics, "update", err)
		return
	}
	w := written{&resp.State, resp.Identity, resp.Private.SetKey, &resp.Diagnostics}
	made := r.save(ctx, document, plan, w)
	if resp.Diagnostics.HasError() {
		return
	}
	r.waitAndSave(ctx, "update", document, made, plan, w)
}

func (r *Resource) Delete(
	ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse,
) {
	ctx, cancel := r.within(ctx, req.State, timeouts.Value.Delete, &resp.Diagnostics)
	defer cancel()
	here := r.facts.byID(attributesOf(req.State.Raw))
	document, err := r.settings.client.Delete(ctx, here)
	if err == nil && document != nil {
		err = r.waitUntilGone(ctx, here, document)
	}
	if err != nil {
		r.report(&resp.Diagnostics, "delete", err)
	}
}

// written is where a write puts what it knows.
type written struct {
	state    *tfsdk.State
	identity *tfsdk.ResourceIdentity
	private  func(context.Context, string, []byte) diag.Diagnostics
	diags    *diag.Diagnostics
}

// save puts the document into the state; it returns the attributes.
func (r *Resource) save(ctx context.Context, document client.Object, plan values, w written) values {
	kind := r.kind(ctx)
	made, err := r.facts.state(document, plan, kind)
	var spelled spellings
	if err == nil {
		spelled, err = r.facts.settle(made, plan, document)
	}
	var remembered []byte
	if err == nil {
		remembered, err = json.Marshal(spelled)
	}
	if err != nil {
		r.report(w.diags, "read", err)
		return nil
	}
	w.state.Raw = tftypes.NewValue(kind, made)
	r.identify(ctx, w.identity, made)
	w.diags.Append(w.private(ctx, spellingsKey, remembered)...)
	return made
}

// waitAndSave waits until the resource is ready and saves it again. An ERROR of the control plane is an
// error; the end of Terraform's own patience is a warning, since the work goes on
// (docs/decisions/0005-terraform-waiting.md).
func (r *Resource) waitAndSave(
	ctx context.Context, doing string, document client.Object, made, plan values, w written,
) {
	if !r.facts.Waits {
		return
	}
	document, err := r.waitUntilReady(ctx, made, document)
	if document != nil {
		r.save(ctx, document, plan, w)
	}
	if ctx.Err() != nil { // timed out, or the user interrupted Terraform
		r.warnUnready(w.diags, doing, made, document)
		return
	}
	if err != nil {
		r.report(w.diags, doing, err)
	}
}

// newSecret says whether the plan asks for another secret.
func (r *Resource) newSecret(plan, prior values) bool {
	for _, field := range r.facts.Fields {
		if field.SecretOf != "" && !plan[field.SecretOf].Equal(prior[field.SecretOf]) {
			return true
		}
	}
	return false
}

func (r *Resource) kind(ctx context.Context) tftypes.Object {
	return r.schema.Type().TerraformType(ctx).(tftypes.Object)
}

// within bounds ctx by the timeouts block of a plan or state.
func (r *Resource) within(
	ctx context.Context,
	source interface {
		GetAttribute(context.Context, path.Path, any) diag.Diagnostics
	},
	limit limitOf,
	diags *diag.Diagnostics,
) (context.Context, context.CancelFunc) {
	var configured timeouts.Value
	diags.Append(source.GetAttribute(ctx, path.Root("timeouts"), &configured)...)
	duration, more := limit(configured, ctx, r.facts.Timeout)
	diags.Append(more...)
	return context.WithTimeout(ctx, duration)
}
