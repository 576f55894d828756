package login

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// serviceType is what Coffret is in Keystone's catalogue.
const serviceType = "database"

// interfaces are the catalogue's, by the words that clients know them by.
var interfaces = map[string]string{
	"": "public", "public": "public", "publicURL": "public",
	"internal": "internal", "internalURL": "internal",
	"admin": "admin", "adminURL": "admin",
}

// endpointIn returns the control plane's URL, without the project at its end. An empty region is any.
func endpointIn(catalogue *tokens.ServiceCatalog, region, kind, project string) (string, error) {
	var fitting, offered []string
	for _, service := range catalogue.Entries {
		if service.Type != serviceType {
			continue
		}
		for _, endpoint := range service.Endpoints {
			offered = append(offered, fmt.Sprintf("%s in %s (%s)", endpoint.Interface, endpoint.Region, service.Name))
			inRegion := region == "" || endpoint.Region == region || endpoint.RegionID == region
			if endpoint.Interface == kind && inRegion && !slices.Contains(fitting, endpoint.URL) {
				fitting = append(fitting, endpoint.URL)
			}
		}
	}
	wanted := kind
	if region != "" {
		wanted += " in " + region
	}
	switch {
	case len(offered) == 0:
		return "", &Fault{"endpoint", "No database service in the catalogue", "Keystone's catalogue has no service of" +
			" the type `database`. The operator registers it by `coffret keystone register`; until then set" +
			" `endpoint` in the provider block, or COFFRET_ENDPOINT, to the control plane's URL."}
	case len(fitting) == 0:
		return "", &Fault{"endpoint", "No such endpoint in the catalogue", fmt.Sprintf("Wanted: %s. Keystone's"+
			" catalogue has, of the type `database`: %s. Set `region` or `endpoint_type` in the provider block (or"+
			" OS_REGION_NAME, OS_INTERFACE) to one of them.", wanted, strings.Join(offered, ", "))}
	case len(fitting) > 1:
		return "", &Fault{"endpoint", "Several endpoints in the catalogue", fmt.Sprintf("Wanted: %s. Keystone's"+
			" catalogue has, of the type `database`: %s. Set `region` (or OS_REGION_NAME) if that tells them apart,"+
			" else `endpoint` to the control plane's URL.", wanted, strings.Join(offered, ", "))}
	}
	return withoutProject(fitting[0], project), nil
}

// withoutProject takes the project off the end of a URL, as Trove's endpoints have it: /v1.0/<project>.
func withoutProject(url, project string) string {
	url = strings.TrimRight(url, "/")
	for _, ending := range []string{"/" + project, "/AUTH_" + project} {
		if rest, ok := strings.CutSuffix(url, ending); ok && project != "" {
			return rest
		}
	}
	return url
}
