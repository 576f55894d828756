// The Terraform provider of Coffret: databases as a service for OpenStack.
package main

import (
	"flag"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"

	"github.com/coffret/terraform-provider-coffret/internal/provider"
)

// version is set by the linker when a release is built.
var version = "dev"

func main() {
	waits := flag.Bool("debug", false, "wait for a debugger instead of for Terraform")
	flag.Parse()
	var options []tf6server.ServeOpt
	if *waits {
		options = append(options, tf6server.WithManagedDebug())
	} else if !isHeard(os.Environ()) {
		// The SDK tells of each step of each call, and Terraform reads that to throw it away.
		_ = os.Setenv("TF_LOG_SDK", "OFF") // fails for bad names only
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a run is short, and makes much garbage of little that lasts
	}
	err := tf6server.Serve("registry.terraform.io/coffret/coffret",
		func() tfprotov6.ProviderServer { return provider.Server(version) }, options...)
	if err != nil {
		log.Fatal(err)
	}
}

// isHeard says whether anybody wants a log.
func isHeard(environment []string) bool {
	return slices.ContainsFunc(environment, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "TF_LOG") && value != ""
	})
}
