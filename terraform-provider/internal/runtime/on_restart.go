package runtime

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
)

const onRestart = "on_restart"

// onRestartAttribute is Terraform's alone: the API has no such thing. It has no default, so that what is imported
// is not changed for it.
var onRestartAttribute = schema.StringAttribute{
	Optional: true,
	MarkdownDescription: "What a plan does when it interrupts an engine, as a restart, a resize or a rebuild does: say" +
		" nothing (`allow`), say so (`warn`), or fail (`forbid`). Where it is not set: `warn`. It is the provider's" +
		" alone; the API has no such field.",
	Validators: []validator.String{stringvalidator.OneOf("allow", "warn", "forbid")},
}
