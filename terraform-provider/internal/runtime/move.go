package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/coffret/terraform-provider-coffret/internal/client"
)

// troveProvider is the address of the provider whose resources can be moved here, after its registry's.
const troveProvider = "/terraform-provider-openstack/openstack"

// movedKey is set in the private state of what was moved here and not read yet.
const movedKey = "moved"

// predecessor is a resource of Trove's that can become one of ours, by a `moved` block.
type predecessor struct {
	// kind is its type there.
	kind string
	// document returns what it has, in the shape of our API, parents among it.
	document func(client.Object) client.Object
}

// predecessors are by our types. Their attributes:
// https://registry.terraform.io/providers/terraform-provider-openstack/openstack/latest/docs
var predecessors = map[string]predecessor{
	"instance":            {"openstack_db_instance_v1", troveInstance},
	"database":            {"openstack_db_database_v1", troveDatabase},
	"user":                {"openstack_db_user_v1", troveUser},
	"configuration_group": {"openstack_db_configuration_v1", troveConfiguration},
}

func troveInstance(old client.Object) client.Object {
	datastore, network := first(old["datastore"]), first(old["network"])
	made := client.Object{
		"name": old["name"], "flavor": old["flavor_id"], "volume": client.Object{"size": old["size"]},
		"datastore": datastore["type"], "version": datastore["version"],
		"configuration_group": set(old["configuration_id"]),
	}
	if id := set(network["uuid"]); id != nil {
		address := set(network["fixed_ip_v4"])
		if address == nil {
			address = set(network["fixed_ip_v6"])
		}
		made["network"] = client.Object{"network_id": id, "ip_address": address}
	}
	return made
}

func troveDatabase(old client.Object) client.Object {
	return client.Object{"instance": old["instance_id"], "name": old["name"]}
}

func troveUser(old client.Object) client.Object {
	name := old["name"]
	if host := set(old["host"]); host != nil && host != "%" {
		name = fmt.Sprintf("%v@%v", name, host)
	}
	grants := []any{}
	databases, _ := old["databases"].([]any)
	for _, database := range databases {
		grants = append(grants, client.Object{"database": database, "privileges": []any{"ALL"}})
	}
	return client.Object{"instance": old["instance_id"], "name": name, "grants": grants}
}

func troveConfiguration(old client.Object) client.Object {
	datastore := first(old["datastore"])
	parameters := client.Object{}
	entries, _ := old["configuration"].([]any)
	for _, entry := range entries {
		parameter, _ := entry.(client.Object)
		if name, ok := parameter["name"].(string); ok {
			parameters[name] = parameter["value"]
		}
	}
	return client.Object{
		"name": old["name"], "description": old["description"], "parameters": parameters,
		"datastore": datastore["type"], "version": datastore["version"],
	}
}

// first is the only object of a block's list.
func first(blocks any) client.Object {
	listed, _ := blocks.([]any)
	if len(listed) == 0 {
		return nil
	}
	block, _ := listed[0].(client.Object)
	return block
}

// set is nil for the empty string, which is how Terraform's older SDK keeps what is not set.
func set(value any) any {
	if value == "" {
		return nil
	}
	return value
}

// MoveState takes over the state of the resource's predecessor. Its id is not kept: the control plane never gave
// it, so what there is, is found by name.
func (r *Resource) MoveState(context.Context) []resource.StateMover {
	before, ok := predecessors[r.facts.Type]
	if !ok {
		return nil
	}
	return []resource.StateMover{{StateMover: func(
		ctx context.Context, req resource.MoveStateRequest, resp *resource.MoveStateResponse,
	) {
		if req.SourceTypeName != before.kind || !strings.HasSuffix(req.SourceProviderAddress, troveProvider) {
			return // the framework says so
		}
		made, err := r.moved(ctx, before, req.SourceRawState.JSON)
		if err != nil {
			r.report(&resp.Diagnostics, "move", fmt.Errorf("the state of the %s is not as it should be: %w", before.kind, err))
			return
		}
		resp.TargetState.Raw = tftypes.NewValue(r.kind(ctx), made)
		r.identify(ctx, resp.TargetIdentity, made)
		resp.Diagnostics.Append(resp.TargetPrivate.SetKey(ctx, movedKey, []byte("true"))...)
	}}}
}

func (r *Resource) moved(ctx context.Context, before predecessor, state []byte) (values, error) {
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.UseNumber()
	var old client.Object
	if err := decoder.Decode(&old); err != nil {
		return nil, err
	}
	document := before.document(old)
	parents := values{}
	for _, name := range r.facts.Parents {
		id, _ := document[name].(string)
		parents[name] = tftypes.NewValue(tftypes.String, id)
	}
	made, err := r.facts.state(document, parents, r.kind(ctx))
	if err == nil && text(made[r.facts.Key]) == "" {
		err = fmt.Errorf("it has no %s", r.facts.Key)
	}
	return made, err
}
