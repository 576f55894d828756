package acceptance

import (
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
)

func TestFunctionsMakeConnectionURIs(t *testing.T) {
	n := name("instance")
	shows := func(output, want string) statecheck.StateCheck {
		return statecheck.ExpectKnownOutputValue(output, knownvalue.StringExact(want))
	}
	test(t,
		resource.TestStep{
			Config:      `output "uri" { value = provider::coffret::redis_uri("db:6379", 0, null, null, null) }`,
			ExpectError: regexp.MustCompile(`(?s)"host" parameter.*the\s+port\s+is\s+an\s+argument`),
		},
		resource.TestStep{
			Config: around(n) + `
				locals {
				  endpoint = coffret_instance.around.endpoints[0]
				}
				output "same_as_the_database_says" {
				  value = (coffret_database.around.uri == provider::coffret::postgresql_uri(
				    local.endpoint.host, local.endpoint.port, coffret_database.around.name, null, null)) ? "yes" : "no"
				}
				output "numbers_are_options_too" {
				  value = provider::coffret::postgresql_uri("::1", 5432, "a b", "c@d", { connect_timeout = 5 })
				}
				output "mysql" {
				  value = provider::coffret::mysql_uri("db", null, "orders", null, null)
				}
				output "redis" {
				  value = provider::coffret::redis_uri("db", 6379, 0, null, null)
				}
				output "jdbc" {
				  value     = provider::coffret::jdbc_url("mariadb", "db", 3306, "orders", "app", {}, sensitive("p&w"))
				  sensitive = true
				}`,
			ConfigStateChecks: []statecheck.StateCheck{
				shows("same_as_the_database_says", "yes"),
				shows("numbers_are_options_too", "postgresql://c%40d@[::1]:5432/a%20b?connect_timeout=5"),
				shows("mysql", "mysql://db/orders"),
				shows("redis", "redis://db:6379/0"),
				shows("jdbc", "jdbc:mariadb://db:3306/orders?password=p%26w&user=app"),
			},
		},
	)
}
