// The Terraform provider of Coffret: databases as a service for OpenStack.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"

	"github.com/coffret/terraform-provider-coffret/internal/provider"
)

// version is set by the linker when a release is built.
var version = "dev"

func main() {
	debug := flag.Bool("debug", false, "wait for a debugger instead of for Terraform")
	flag.Parse()
	err := providerserver.Serve(context.Background(), provider.New(version), providerserver.ServeOpts{
		Address: "registry.terraform.io/coffret/coffret",
		Debug:   *debug,
	})
	if err != nil {
		log.Fatal(err)
	}
}
