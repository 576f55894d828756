// Package acceptance runs the provider in Terraform against a control plane: the one that
// COFFRET_ENDPOINT and COFFRET_TOKEN (an admin's) name, on the noop cloud. TF_ACC=1 switches it on.
package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/acctest"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"

	"github.com/coffret/terraform-provider-coffret/internal/client"
	"github.com/coffret/terraform-provider-coffret/internal/provider"
)

var factories = map[string]func() (tfprotov6.ProviderServer, error){
	"coffret": func() (tfprotov6.ProviderServer, error) { return provider.Server("test"), nil },
}

// test runs steps as one configuration's life.
func test(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	resource.ParallelTest(t, resource.TestCase{ProtoV6ProviderFactories: factories, Steps: steps})
}

// since is a test for what Terraform has since a version.
func since(t *testing.T, least *version.Version, steps ...resource.TestStep) {
	t.Helper()
	resource.ParallelTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories, Steps: steps,
		TerraformVersionChecks: []tfversion.TerraformVersionCheck{tfversion.SkipBelow(least)},
	})
}

// name is a new one in each run, so that runs share a control plane.
func name(prefix string) string { return acctest.RandomWithPrefix(prefix) }

func api(t *testing.T) *client.Client {
	t.Helper()
	token := client.Token{Value: os.Getenv("COFFRET_TOKEN"), Origin: "COFFRET_TOKEN"}
	c, err := client.New(os.Getenv("COFFRET_ENDPOINT"), token, client.NewHTTP(nil), "acceptance-test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// patch changes a resource behind Terraform's back.
func patch(t *testing.T, path string, change client.Object) {
	t.Helper()
	body, err := json.Marshal(change)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPatch, os.Getenv("COFFRET_ENDPOINT")+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("COFFRET_TOKEN"))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("PATCH %s: %s %s", path, response.Status, text)
	}
}

// remove deletes a resource behind Terraform's back and waits until it is gone.
func remove(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		left, err := api(t).Delete(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if left == nil {
			return
		}
		client.Sleep(ctx, 50*time.Millisecond)
	}
}

// document reads a resource as the API shows it.
func document(t *testing.T, path string) client.Object {
	t.Helper()
	found, err := api(t).Get(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// apiShows checks a top-level field of the API's document.
func apiShows(t *testing.T, path, field string, want any) resource.TestCheckFunc {
	return func(*terraform.State) error {
		if got := document(t, path)[field]; fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%s of %s is %v, not %v", field, path, got, want)
		}
		return nil
	}
}
