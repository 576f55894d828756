package main

import "testing"

func TestALogIsKeptForWhoeverAsksForOne(t *testing.T) {
	for variable, want := range map[string]bool{
		"TF_LOG=DEBUG": true, "TF_LOG_PROVIDER=INFO": true, "TF_LOG_SDK_PROTO=TRACE": true,
		"TF_LOG=": false, "HOME=/root": false,
	} {
		if got := isHeard([]string{"A=B", variable}); got != want {
			t.Errorf("%s: %v", variable, got)
		}
	}
}
