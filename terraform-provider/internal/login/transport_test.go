package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secureCloud serves TLS with a certificate that no system trusts; it returns that certificate.
func secureCloud(t *testing.T, settings *tls.Config) (*cloudDouble, string) {
	t.Helper()
	c := newCloudUnstarted(t)
	c.TLS = settings
	c.StartTLS()
	return c, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
}

func saved(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "saved.pem")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestACAOfOnesOwnIsForKeystoneAndTheControlPlane(t *testing.T) {
	const cloud = "clouds: {mine: {%s, auth: {auth_url: AUTH_URL, user_id: me, password: p, project_id: the-project}}}"
	for what, set := range map[string]func(c *cloudDouble, ca string) map[string]string{
		"a file in the block":   func(c *cloudDouble, ca string) map[string]string { return c.block("cacert_file", saved(t, ca)) },
		"the PEM in the block":  func(c *cloudDouble, ca string) map[string]string { return c.block("cacert_file", ca) },
		"insecure in the block": func(c *cloudDouble, _ string) map[string]string { return c.block("insecure", "true") },
		"OS_INSECURE":           func(c *cloudDouble, _ string) map[string]string { t.Setenv("OS_INSECURE", "1"); return c.block() },
		"OS_CACERT": func(c *cloudDouble, ca string) map[string]string {
			t.Setenv("OS_CACERT", saved(t, ca))
			return c.block()
		},
		"cacert in clouds.yaml": func(c *cloudDouble, ca string) map[string]string {
			c.write(t, "clouds.yaml", fmt.Sprintf(cloud, "cacert: "+saved(t, ca)))
			return map[string]string{"cloud": "mine"}
		},
		"verify in clouds.yaml": func(c *cloudDouble, _ string) map[string]string {
			c.write(t, "clouds.yaml", fmt.Sprintf(cloud, "verify: false"))
			return map[string]string{"cloud": "mine"}
		},
		"the block before clouds.yaml": func(c *cloudDouble, ca string) map[string]string {
			other, _ := keyPair(t)
			c.write(t, "clouds.yaml", fmt.Sprintf(cloud, "cacert: "+saved(t, other)))
			return map[string]string{"cloud": "mine", "cacert_file": ca}
		},
		"a control plane's own token": func(c *cloudDouble, ca string) map[string]string {
			return map[string]string{"endpoint": c.URL, "token": "cfrt_1.x", "cacert_file": ca}
		},
	} {
		t.Run(what, func(t *testing.T) {
			c, ca := secureCloud(t, nil)
			get(t, connected(t, set(c, ca)))
		})
	}
}

func TestACertificateThatIsNotTrustedIsSaidAtOnce(t *testing.T) {
	c, _ := secureCloud(t, nil)
	began := time.Now()
	_, err := Connect(context.Background(), c.block(), "test-agent/1")
	contains(t, fmt.Sprint(err), "Keystone at https://", "certificate", "OS_CACERT", "cacert_file")
	_, err = connected(t, map[string]string{"endpoint": c.URL, "token": "cfrt_1.x"}).Get(context.Background(), "/v1/x")
	contains(t, fmt.Sprint(err), "The control plane at https://", "certificate", "OS_CACERT")
	if took := time.Since(began); took > 2*time.Second || len(c.logins)+len(c.asked) != 0 {
		t.Errorf("it took %s", took)
	}
}

func TestAClientCertificateIsShown(t *testing.T) {
	certificate, key := keyPair(t)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(certificate))
	c, ca := secureCloud(t, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients})
	get(t, connected(t, c.block("cacert_file", ca, "cert", certificate, "key", saved(t, key))))
	t.Setenv("OS_CERT", saved(t, certificate))
	contains(t, fault(t, c.block("cacert_file", ca)).Detail, "go together", "OS_KEY")
	t.Setenv("OS_KEY", saved(t, key))
	get(t, connected(t, c.block("cacert_file", ca)))
	other, _ := keyPair(t)
	found := fault(t, c.block("cacert_file", ca, "cert", other, "key", key))
	if strings.Contains(found.Error(), key) {
		t.Error("the key is shown")
	}
}

// keyPair is a certificate for itself, and its key.
func keyPair(t *testing.T) (certificate, key string) {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	facts := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, facts, facts, &made.PublicKey, made)
	if err != nil {
		t.Fatal(err)
	}
	written, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: written}))
}
