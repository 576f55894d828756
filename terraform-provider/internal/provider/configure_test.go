package provider

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func TestWhatIsNewIsPlannedBeforeTheProviderBlockIsKnown(t *testing.T) {
	c := &controlPlane{}
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	t.Setenv("COFFRET_ENDPOINT", web.URL)
	block := map[string]any{"token": tftypes.UnknownValue, "insecure": tftypes.UnknownValue}
	s, answer := configured(t, block, nil)
	if len(answer.Diagnostics) != 0 {
		t.Fatal(said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	null, wanted := s.dynamic(tftypes.NewValue(s.kind, nil)), s.instance("1m")
	planned, err := s.PlanResourceChange(context.Background(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: null, ProposedNewState: wanted, Config: wanted,
	})
	check(t, err)
	if len(planned.Diagnostics) != 0 {
		t.Error(said(planned.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	read, err := s.ReadResource(context.Background(), &tfprotov6.ReadResourceRequest{
		TypeName: "coffret_instance", CurrentState: wanted,
	})
	check(t, err)
	has(t, said(read.Diagnostics, tfprotov6.DiagnosticSeverityError), "known only after apply: token, insecure")
	if len(c.asked) != 0 {
		t.Errorf("asked %v", c.asked)
	}
}

func TestTerraformThatCanDeferIsAskedTo(t *testing.T) {
	s, answer := configured(t, map[string]any{"cloud": tftypes.UnknownValue},
		&tfprotov6.ConfigureProviderClientCapabilities{DeferralAllowed: true})
	if len(answer.Diagnostics) != 0 {
		t.Fatal(said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
	wanted := s.instance("1m")
	planned, err := s.PlanResourceChange(context.Background(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: "coffret_instance", PriorState: s.dynamic(tftypes.NewValue(s.kind, nil)),
		ProposedNewState: wanted, Config: wanted,
		ClientCapabilities: &tfprotov6.PlanResourceChangeClientCapabilities{DeferralAllowed: true},
	})
	check(t, err)
	if planned.Deferred == nil || planned.Deferred.Reason != tfprotov6.DeferredReasonProviderConfigUnknown {
		t.Error(planned.Deferred, said(planned.Diagnostics, tfprotov6.DiagnosticSeverityError))
	}
}

func TestTwoWaysToAuthenticateAreRefusedWhenTerraformValidates(t *testing.T) {
	s, _ := configured(t, map[string]any{"token": "cfrt_1.x", "endpoint": "http://127.0.0.1:1"}, nil)
	block := s.block(map[string]any{"token": "cfrt_1.x", "cloud": "mine"})
	answer, err := s.ValidateProviderConfig(context.Background(), &tfprotov6.ValidateProviderConfigRequest{Config: block})
	check(t, err)
	has(t, said(answer.Diagnostics, tfprotov6.DiagnosticSeverityError), "Two ways to authenticate", "`cloud`")
}

func TestSecretsOfTheProviderBlockAreSensitive(t *testing.T) {
	s, _ := configured(t, nil, nil)
	for _, attribute := range s.schema.Block.Attributes {
		secret := map[string]bool{"password": true, "token": true, "application_credential_secret": true, "key": true}
		if attribute.Sensitive != secret[attribute.Name] {
			t.Errorf("%s: sensitive is %v", attribute.Name, attribute.Sensitive)
		}
	}
}
